//! One trial: its device, its training rung by rung, its schedule, its checkpoints.
//!
//! Knows nothing of studies, queues, SQL or HTTP: it is given a graph, a genome, a data set and the
//! epochs to train, and gives back weights, a checkpoint and the answers on the validation split.

#![forbid(unsafe_code)]

mod batches;
mod checkpoint;
mod crossfit;
mod device;
mod error;
mod examples;
mod hyperparameters;
mod joined;
mod loss;
mod measure;
mod memory;
mod optimizer;
mod predict;
mod pretrained;
mod rung;
mod schedule;
mod teacher;
mod trainer;

pub use batches::HostBatch;
pub use checkpoint::Checkpoint;
pub use crossfit::{CrossFit, cross_fit, train_once};
pub use device::{DeviceInfo, DeviceKind, OpenDevice, devices, open_device};
pub use error::TrainError;
pub use examples::{BoxedExamples, Draw, Examples, GoodExamples, LabelledExamples, Verdict, spoil, truths};
pub use hyperparameters::{Hyperparameters, OptimizerKind, distillation, params, params_of};
pub use joined::JoinedTrainer;
pub use measure::{measure, measure_joined};
pub use memory::training_bytes;
pub use predict::predict;
pub use pretrained::Pretrained;
pub use rung::{Progress, RungInput, RungOutcome, TrialConfig, WeightsFrom, run_rung};
pub use schedule::learning_rate;
pub use teacher::{features, held_out_answers};
pub use trainer::Trainer;
