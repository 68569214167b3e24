//! Frames on a device.
