//! The use cases, one file each, and the ports that they need from outside. Knows neither tonic nor any store.

pub mod ports;
