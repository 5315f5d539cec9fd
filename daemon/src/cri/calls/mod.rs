//! One file for each call of the CRI, named exactly like it.
//!
//! Never: more than check, convert, hand over, convert back.

pub(super) mod attach;
pub(super) mod checkpoint_container;
pub(super) mod container_stats;
pub(super) mod container_status;
pub(super) mod create_container;
pub(super) mod exec;
pub(super) mod exec_sync;
pub(super) mod get_container_events;
pub(super) mod image_fs_info;
pub(super) mod image_status;
pub(super) mod list_container_stats;
pub(super) mod list_containers;
pub(super) mod list_images;
pub(super) mod list_metric_descriptors;
pub(super) mod list_pod_sandbox;
pub(super) mod list_pod_sandbox_metrics;
pub(super) mod list_pod_sandbox_stats;
pub(super) mod pod_sandbox_stats;
pub(super) mod pod_sandbox_status;
pub(super) mod port_forward;
pub(super) mod pull_image;
pub(super) mod remove_container;
pub(super) mod remove_image;
pub(super) mod remove_pod_sandbox;
pub(super) mod reopen_container_log;
pub(super) mod run_pod_sandbox;
pub(super) mod runtime_config;
pub(super) mod start_container;
pub(super) mod status;
pub(super) mod stop_container;
pub(super) mod stop_pod_sandbox;
pub(super) mod stream_container_stats;
pub(super) mod stream_containers;
pub(super) mod stream_images;
pub(super) mod stream_pod_sandbox_metrics;
pub(super) mod stream_pod_sandbox_stats;
pub(super) mod stream_pod_sandboxes;
pub(super) mod update_container_resources;
pub(super) mod update_pod_sandbox_resources;
pub(super) mod update_runtime_config;
pub(super) mod version;
