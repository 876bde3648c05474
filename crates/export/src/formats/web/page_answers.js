//@ classes_expose
window.kindling = { predict, predictRgb, labels, inputSize };
//@ classes_rows
  const rows = labels.map((label) => {
    const part = (name, ...inside) => {
      const made = document.createElement("span");
      made.className = name;
      made.append(...inside);
      return made;
    };
    const row = document.createElement("li"), fill = part("fill"), share = part("share");
    fill.style.width = "0";
    const track = part("track", fill), name = part("name", label);
    name.dir = "auto";
    track.setAttribute("aria-hidden", "true");
    row.append(name, track, share);
    return { row, fill, share };
  });
  $("bars").append(...rows.map(({ row }) => row));
  $("verdict").classList.add("none");

//@ classes_show
  function show(probabilities, milliseconds) {
    const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
    order.forEach((at, place) => {
      const { row, fill, share } = rows[at];
      row.classList.toggle("top", place === 0);
      fill.style.width = `${100 * probabilities[at]}%`;
      share.textContent = percent(probabilities[at]);
    });
    $("bars").append(...order.map((at) => rows[at].row));
    const best = document.createElement("bdi");
    best.textContent = labels[order[0]];
    const strong = document.createElement("strong");
    strong.append(best);
    $("verdict").classList.remove("none");
    const unsure = probabilities[order[0]] < unknownBelow ? ": perhaps none of these" : "";
    $("verdict").replaceChildren(strong, `, ${percent(probabilities[order[0]])} sure${unsure}`);
    const time = milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds);
    $("time").textContent = `Answered in ${time} ms on this computer.`;
  }

//@ classes_look
    const start = performance.now();
    const probabilities = predict(data, canvas.width, canvas.height);
    show(probabilities, performance.now() - start);
    $("shown").hidden = false;
    // On a phone the answer is below the picture.
    $("verdict").scrollIntoView({ block: "nearest" });
    return probabilities;
//@ boxes_expose
window.kindling = { detect, detectRgb, mapRgb, labels, inputSize };
//@ boxes_rows
  const COLOURS = ["#e4572e", "#1f77d0", "#2e9e5b", "#b14fc5", "#a67600", "#008a8a", "#d6336c", "#6b7280"];
  const colour = (label) => COLOURS[labels.indexOf(label) % COLOURS.length];
  const part = (name, ...inside) => {
    const made = document.createElement("span");
    made.className = name;
    made.append(...inside);
    return made;
  };
  $("verdict").classList.add("none");

//@ boxes_show
  // Frames over a picture or the camera, each at its shares of it.
  function frame(over, picture, objects) {
    const fit = () => {
      for (const side of ["left", "top", "width", "height"]) {
        over.style[side] = `${picture[`offset${side[0].toUpperCase()}${side.slice(1)}`]}px`;
      }
    };
    fit();
    over.fit ??= new ResizeObserver(fit);
    over.fit.observe(picture);
    // The surest last, so that it lies on top.
    over.replaceChildren(...[...objects].reverse().map(({ label, score, left, top, right, bottom }) => {
      const words = part("words", label, " ", percent(score)), made = part("frame", words);
      words.dir = "auto";
      // The words stay inside.
      made.classList.toggle("low", top < 0.08);
      made.classList.toggle("far", left > 0.7);
      for (const [side, share] of [["left", left], ["top", top], ["width", right - left], ["height", bottom - top]]) {
        made.style[side] = `${100 * share}%`;
      }
      made.style.setProperty("--colour", colour(label));
      return made;
    }));
  }

  function show(over, picture, objects, milliseconds) {
    frame(over, picture, objects);
    $("bars").replaceChildren(...objects.map(({ label, score }) => {
      const row = document.createElement("li"), fill = part("fill"), track = part("track", fill), name = part("name", label);
      fill.style.width = `${100 * score}%`;
      fill.style.background = colour(label);
      name.dir = "auto";
      track.setAttribute("aria-hidden", "true");
      row.append(name, track, part("share", percent(score)));
      return row;
    }));
    const counts = labels.map((label) => [label, objects.filter((found) => found.label === label).length]);
    const said = counts.filter(([, count]) => count).map(([label, count]) => {
      const strong = document.createElement("strong"), bdi = document.createElement("bdi");
      bdi.textContent = label;
      strong.append(bdi);
      return part("", `${count} × `, strong);
    });
    $("verdict").classList.toggle("none", !said.length);
    const words = said.length ? said.flatMap((one, at) => (at ? [", ", one] : [one])) : ["Nothing that it knows is found."];
    $("verdict").replaceChildren(...words);
    const time = milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds);
    $("time").textContent = `Answered in ${time} ms on this computer.`;
  }

  // What was looked at last, for another score.
  let again = () => {};
  function sayLeast() {
    $("least-said").textContent = `${Math.round(100 * $("least").value)}%`;
  }
  $("least").value = atLeast;
  sayLeast();
  $("least").addEventListener("input", () => {
    sayLeast();
    again();
  });

  // Looks at what the camera sees as fast as this computer can.
  function watch() {
    const video = $("video"), small = document.createElement("canvas"), pen = small.getContext("2d", { willReadFrequently: true });
    const soon = (then) => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(then) : requestAnimationFrame(then));
    again = () => {};
    function look() {
      if (!stream) return;
      if (video.videoWidth) {
        [small.width, small.height] = [video.videoWidth, video.videoHeight];
        pen.drawImage(video, 0, 0);
        const { data } = pen.getImageData(0, 0, small.width, small.height);
        const start = performance.now();
        const objects = detect(data, small.width, small.height, Number($("least").value));
        show($("over-video"), video, objects, performance.now() - start);
      }
      soon(look);
    }
    look();
  }

//@ boxes_look
    const { width: across, height: down } = canvas;
    again = () => {
      const start = performance.now();
      const objects = detect(data, across, down, Number($("least").value));
      show($("over-picture"), canvas, objects, performance.now() - start);
      return objects;
    };
    $("shown").hidden = false;
    const objects = again();
    // On a phone the answer is below the picture.
    $("verdict").scrollIntoView({ block: "nearest" });
    return objects;
//@ boxes_started
      watch();
//@ boxes_stopped
    $("over-video").replaceChildren();
//@ boxes_shot
    stopCamera();
