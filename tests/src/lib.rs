//! The harness: what the tests of the real binaries have in common.
//!
//! Owns: a daemon's life in a test, the clients, the leak checker. Never: a test; those are in `it/`, one module
//! for each feature.

pub mod ask;
pub mod bystander;
pub mod chaos;
pub mod client;
pub mod conformance;
pub mod cri_log;
pub mod crictl;
pub mod critest;
pub mod daemon;
pub mod disk;
pub mod eventually;
pub mod failpoints;
pub mod host;
pub mod image_file;
pub mod images;
pub mod kubelet;
pub mod kubelet_model;
pub mod layer;
pub mod layout;
pub mod leaks;
pub mod limits;
pub mod memory;
pub mod network;
pub mod nursery;
pub mod random;
pub mod registry;
pub mod scripted;
pub mod sys;
pub mod tree;
pub mod workload;
