//! Where training runs, chosen by name at run time.

use crate::TrainError;
use burn::tensor::{Device, DeviceKind as Adapter, DeviceType, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What sort of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// burn's pure-Rust CPU backend; results are the same bit for bit on each run.
    Flex,
    /// The older CPU backend on the ndarray crate.
    NdArray,
    /// A graphics card through wgpu.
    Gpu,
    /// A processor posing as a graphics card (such as Mesa's lavapipe): for tests, slower than `flex`.
    SoftwareGpu,
    /// An NVIDIA card through CUDA.
    Cuda,
}

/// A device that can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The name to give [`open_device`].
    pub name: String,
    /// What sort it is.
    pub kind: DeviceKind,
    /// For people.
    pub about: String,
}

/// A device ready for use.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// burn's handle, without autodiff.
    pub device: Device,
    /// Its name, as [`open_device`] takes it, never `auto`.
    pub name: String,
    /// What sort it is.
    pub kind: DeviceKind,
}

/// How many adapters of a kind are looked for.
const MOST: usize = 8;

/// Every device of this machine that this build can use. Looking starts no adapter.
pub fn devices() -> Vec<DeviceInfo> {
    let about = |text: &str| text.to_owned();
    let mut found = vec![
        DeviceInfo { name: "flex".into(), kind: DeviceKind::Flex, about: about("processor, burn-flex (default)") },
        DeviceInfo { name: "ndarray".into(), kind: DeviceKind::NdArray, about: about("processor, burn-ndarray") },
    ];
    for (number, (_, kind, text)) in adapters(DeviceType::Wgpu, Device::wgpu).into_iter().enumerate() {
        found.push(DeviceInfo { name: format!("wgpu:{number}"), kind, about: format!("{text}, through wgpu") });
    }
    #[cfg(feature = "vulkan")]
    for (number, (_, kind, text)) in adapters(DeviceType::Vulkan, Device::vulkan).into_iter().enumerate() {
        found.push(DeviceInfo { name: format!("vulkan:{number}"), kind, about: format!("{text}, through Vulkan") });
    }
    #[cfg(feature = "cuda")]
    for number in 0..catch_unwind(|| Device::enumerate(DeviceType::Cuda).len()).unwrap_or(0) {
        found.push(DeviceInfo { name: format!("cuda:{number}"), kind: DeviceKind::Cuda, about: about("NVIDIA card") });
    }
    found
}

/// The adapters of one interface, real cards first. A machine without Vulkan or any driver has none.
fn adapters(interface: DeviceType, make: fn(Adapter) -> Device) -> Vec<(Device, DeviceKind, String)> {
    // Drivers may fail in any way while they are listed; then there is no card to use.
    let listed = catch_unwind(move || Device::enumerate(interface).to_vec()).unwrap_or_default();
    let mut found = Vec::new();
    let mut look = |adapter: Adapter, kind, text: String| {
        let device = make(adapter);
        if listed.contains(&device) {
            found.push((device, kind, text));
        }
    };
    for i in 0..MOST {
        look(Adapter::DiscreteGpu(i), DeviceKind::Gpu, format!("graphics card {i}"));
    }
    for i in 0..MOST {
        look(Adapter::IntegratedGpu(i), DeviceKind::Gpu, format!("integrated graphics {i}"));
    }
    for i in 0..MOST {
        look(Adapter::VirtualGpu(i), DeviceKind::Gpu, format!("virtual graphics card {i}"));
    }
    look(Adapter::Cpu, DeviceKind::SoftwareGpu, "software adapter, for tests".into());
    found
}

/// Opens a device: `auto`, `flex`, `ndarray`, `wgpu[:n]`, `vulkan[:n]`, `cuda[:n]`, numbered as
/// [`devices`] lists them.
///
/// `auto` is `flex`: networks this small train no faster on a graphics card, and its first trial waits half a minute for
/// shaders (BENCHMARKS.md). Asked by name, `wgpu` is the first adapter, real cards before software.
///
/// # Errors
/// [`TrainError::UnknownDevice`] if the name is not known or needs another build,
/// [`TrainError::Device`] if there is no such device or it does not start.
pub fn open_device(name: &str) -> Result<OpenDevice, TrainError> {
    let (family, number) = match name.split_once(':') {
        None => (name, None),
        Some((family, number)) => {
            let number = number.parse::<usize>();
            let number = number.map_err(|_| {
                TrainError::UnknownDevice(format!("`{name}`: write a number after the colon, such as `{family}:0`"))
            })?;
            (family, Some(number))
        }
    };
    let open = |device, kind| Ok(OpenDevice { device, name: name.to_owned(), kind });
    match family {
        "auto" if number.is_none() => open_device("flex"),
        "flex" if number.unwrap_or(0) == 0 => open(Device::flex(), DeviceKind::Flex),
        // Deprecated in burn 0.22 and gone after it; offered as a second opinion while it lasts.
        #[allow(deprecated)]
        "ndarray" if number.unwrap_or(0) == 0 => open(Device::ndarray(), DeviceKind::NdArray),
        "wgpu" => open_adapter(name, number, adapters(DeviceType::Wgpu, Device::wgpu)),
        #[cfg(feature = "vulkan")]
        "vulkan" => open_adapter(name, number, adapters(DeviceType::Vulkan, Device::vulkan)),
        #[cfg(feature = "cuda")]
        "cuda" => {
            let device = OpenDevice {
                device: Device::cuda(number.unwrap_or(0)),
                name: format!("cuda:{}", number.unwrap_or(0)),
                kind: DeviceKind::Cuda,
            };
            start(&device)?;
            Ok(device)
        }
        "vulkan" | "cuda" => Err(TrainError::UnknownDevice(format!(
            "`{name}` is not in this build; build with `--features {family}`, or use `wgpu`, `flex` or `auto`"
        ))),
        _ => Err(TrainError::UnknownDevice(format!(
            "`{name}` is not a device; use one of `auto`, `flex`, `ndarray`, `wgpu`, `vulkan`, `cuda`"
        ))),
    }
}

fn open_adapter(
    name: &str,
    number: Option<usize>,
    found: Vec<(Device, DeviceKind, String)>,
) -> Result<OpenDevice, TrainError> {
    let (count, number) = (found.len(), number.unwrap_or(0));
    let Some((device, kind, _)) = found.into_iter().nth(number) else {
        let what = format!("`{name}` is not there; this machine has {count} adapters. Use `flex` or `auto`");
        return Err(TrainError::Device(what));
    };
    let family = name.split(':').next().unwrap_or(name);
    let open = OpenDevice { device, name: format!("{family}:{number}"), kind };
    start(&open)?;
    Ok(open)
}

/// Runs one small computation, so that a device that does not work is known at once.
fn start(device: &OpenDevice) -> Result<(), TrainError> {
    guard(|| {
        let sum = Tensor::<1>::ones([4], &device.device).sum();
        match crate::trainer::read(&sum)?.first() {
            Some(4.0) => Ok(()),
            other => Err(TrainError::Device(format!("`{}` computes 1 + 1 + 1 + 1 = {other:?}", device.name))),
        }
    })
}

/// Runs work on a device. burn panics when a device fails, which must end as an error here.
pub(crate) fn guard<T>(work: impl FnOnce() -> Result<T, TrainError>) -> Result<T, TrainError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it failed without saying why");
        Err(TrainError::Device(text.chars().take(2000).collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for name in ["gpu", "flex:1", "auto:0", "", "wgpu:x", "wgpu:-1"] {
            let error = open_device(name).unwrap_err();
            assert!(matches!(error, TrainError::UnknownDevice(_)), "{name}: {error}");
        }
        #[cfg(not(feature = "vulkan"))]
        assert!(open_device("vulkan").unwrap_err().to_string().contains("--features vulkan"));
        assert!(matches!(open_device("wgpu:99"), Err(TrainError::Device(_))));
    }

    #[test]
    fn auto_is_the_processor() {
        let device = open_device("auto").unwrap();
        assert_eq!((device.kind, device.name.as_str()), (DeviceKind::Flex, "flex"));
    }

    #[test]
    fn the_processor_is_always_there() {
        let names: Vec<String> = devices().into_iter().map(|d| d.name).collect();
        assert!(names.contains(&"flex".to_owned()) && names.contains(&"ndarray".to_owned()), "{names:?}");
        for name in ["flex", "ndarray"] {
            start(&open_device(name).unwrap()).unwrap();
        }
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let error = guard::<()>(|| panic!("adapter {} lost", 3)).unwrap_err();
        assert_eq!(error.to_string(), "device: adapter 3 lost");
    }
}
