// The page around the model.

// For tests, and for the curious in the browser's console.
{{expose}}
{
  const $ = (id) => document.getElementById(id);
  // Some phones draw nothing on a larger canvas; a picture beyond it is made smaller first.
  const MOST_PIXELS = 16e6;
  const canvas = $("picture");
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  // Never 0 or 100 for what is only near them.
  function percent(share) {
    if (share < 0.001) return "<0.1%";
    if (share > 0.999) return ">99.9%";
    return `${(100 * share).toFixed(share < 0.0995 || share >= 0.99 ? 1 : 0)}%`;
  }

{{rows}}  function say(problem) {
    $("problem").textContent = problem;
    $("problem").hidden = !problem;
  }

{{show}}  // Draws anything that can be drawn at its own size, shows it and answers.
  function classify(drawable, width, height) {
    const shrink = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
    canvas.width = Math.max(1, Math.round(width * shrink));
    canvas.height = Math.max(1, Math.round(height * shrink));
    canvas.classList.toggle("tiny", Math.max(width, height) < 240);
    context.imageSmoothingQuality = "high";
    context.drawImage(drawable, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
{{look}}  }

  // What is in a file as it is stored: turned as the camera says, its colours as they are.
  async function read(file) {
    say("");
    let picture;
    try {
      picture = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
    } catch {
      const name = file.name ? `“${file.name}”` : "This";
      return say(`${name} could not be read as a picture. PNG, JPEG and WebP files work in every browser.`);
    }
    try {
      return classify(picture, picture.width, picture.height);
    } catch (error) {
      say(`The picture could not be looked at: ${error.message}`);
    } finally {
      picture.close();
    }
  }

  const picked = (files) => [...(files ?? [])].find((file) => file.type.startsWith("image/")) ?? files?.[0];

  $("file").addEventListener("change", async () => {
    const file = picked($("file").files);
    if (file) await read(file);
    // So that the same file may be chosen again.
    $("file").value = "";
  });

  // A file dropped beside the frame must not replace the page.
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(name, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
      if (name !== "drop") return;
      const file = picked(event.dataTransfer?.files);
      if (file) read(file);
      else say("What was dropped is not a file. Save the picture first, then drop the file here.");
    });
  }

  addEventListener("paste", (event) => {
    const file = picked(event.clipboardData?.files);
    if (file) read(file);
    else say("There is no picture in what was pasted.");
  });

  let stream = null;
  function stopCamera() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    $("video").srcObject = null;
{{stopped}}    $("live").hidden = true;
    $("camera").setAttribute("aria-expanded", "false");
    $("camera").textContent = "Use the camera";
  }

  $("camera").addEventListener("click", async () => {
    if (stream) return stopCamera();
    say("");
    if (!navigator.mediaDevices?.getUserMedia) {
      const instead = "Take a picture and choose the file instead.";
      return say(`This browser does not let a page that is opened from a disk use the camera. ${instead}`);
    }
    $("camera").disabled = true;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
      $("video").srcObject = stream;
      $("live").hidden = false;
      $("camera").setAttribute("aria-expanded", "true");
      $("camera").textContent = "Close the camera";
      await $("video").play();
      $("shoot").focus();
{{started}}    } catch (error) {
      stopCamera();
      const causes = {
        NotAllowedError: "The browser was not allowed to use the camera. Allow it beside the address",
        NotFoundError: "No camera was found. Connect one",
        NotReadableError: "The camera is in use by another program. Close that",
      };
      const cause = causes[error.name] ?? `The camera could not be used (${error.message}). Try again`;
      say(`${cause}, or choose a file instead.`);
    } finally {
      $("camera").disabled = false;
    }
  });

  $("shoot").addEventListener("click", () => {
    const video = $("video");
    if (!video.videoWidth) return say("The camera has not shown anything yet. Try again in a moment.");
    say("");
    classify(video, video.videoWidth, video.videoHeight);
{{shot}}  });

  addEventListener("pagehide", stopCamera);
  window.kindling.read = read;
}
