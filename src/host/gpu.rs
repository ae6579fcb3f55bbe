//! GPUs as NVIDIA's management library shows them. It is loaded when it is there: a machine without it has no GPU.

use crate::{plan::GpuSeen, units::Bytes};
use nvml_wrapper::{
    Device, Nvml,
    enum_wrappers::device::{EccCounter, MemoryError},
    error::NvmlError,
};
use std::{ffi::OsStr, fs, path::PathBuf};

/// Looks at every GPU. Takes up to seconds, on a machine whose driver must first wake them: not for a loop.
pub fn look() -> Vec<GpuSeen> {
    // the name without a version is in the development package only
    look_with(OsStr::new("libnvidia-ml.so.1"))
}

fn look_with(library: &OsStr) -> Vec<GpuSeen> {
    let nvml = match Nvml::builder().lib_path(library).init() {
        Ok(nvml) => nvml,
        Err(NvmlError::LibloadingError(_)) => return Vec::new(),
        Err(error) => {
            tracing::warn!(error = %error, "the NVIDIA driver does not answer");
            return Vec::new();
        }
    };
    let count = nvml.device_count().unwrap_or(0);
    (0..count).filter_map(|index| seen(&nvml, index)).collect()
}

/// A GPU that does not even tell its name cannot be told apart from others, and counts as gone.
fn seen(nvml: &Nvml, index: u32) -> Option<GpuSeen> {
    let device = nvml.device_by_index(index).ok()?;
    let uuid = device.uuid().ok()?;
    let (memory, trouble) = match device.memory_info() {
        Ok(memory) => (Bytes::new(memory.total), errors(&device)),
        Err(error) => (Bytes::default(), Some(error.to_string())),
    };
    let node = device.pci_info().ok().and_then(|pci| node(&pci.bus_id));
    Some(GpuSeen { uuid, name: device.name().unwrap_or_default(), memory, node, trouble })
}

/// Errors that its memory could not correct: what it computes is wrong from then on.
fn errors(device: &Device<'_>) -> Option<String> {
    match device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile) {
        Ok(count) if count > 0 => {
            Some(format!("its memory had {count} errors that could not be corrected: reset it with nvidia-smi -r"))
        }
        // most models for the desk do not count them
        Ok(_) | Err(_) => None,
    }
}

/// The memory node of a device, as the kernel shows it; a machine with one node says -1.
fn node(bus: &str) -> Option<u32> {
    let path = PathBuf::from("/sys/bus/pci/devices").join(device_name(bus)?).join("numa_node");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The driver writes the domain with eight digits, the kernel with four.
fn device_name(bus: &str) -> Option<String> {
    let (domain, rest) = bus.split_once(':')?;
    let short = domain.get(domain.len().checked_sub(4)?..)?;
    Some(format!("{short}:{rest}").to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_library_there_is_no_gpu_and_no_error() {
        assert_eq!(look_with(OsStr::new("/nonexistent/libnvidia-ml.so.1")), []);
    }

    #[test]
    fn a_device_is_found_where_the_kernel_has_it() {
        assert_eq!(device_name("00000000:C1:00.0").as_deref(), Some("0000:c1:00.0"));
        assert_eq!(device_name("nonsense"), None);
    }
}
