//! The edge: the CRI over gRPC. Only here are protobuf and tonic known; nobody uses this module.
//!
//! A call checks, converts and hands over (I5: its future may be dropped at any await). Owns: the routing
//! tables, conversions, the mapping of errors to codes. Never: state.

mod bounded;
mod calls;
mod control_service;
mod convert;
mod deadline;
mod error;
mod explain;
mod image_service;
mod looks;
mod runtime_service;
mod server;

pub use control_service::{ControlService, Identity};
pub use image_service::ImageService;
pub use runtime_service::RuntimeService;
pub use server::{Services, serve};
