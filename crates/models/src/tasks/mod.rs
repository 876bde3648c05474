//! What each kind of task computes from a network's answers. One file a kind.

pub mod anomaly_detection;
pub mod calibration;
pub mod image_classification;
pub mod object_detection;
pub mod unknown;
