//! The bytes that a store holds.

use super::stack::Stack;
use std::{fs, path::Path};

/// Every file of a store.
pub struct Stored(Vec<Vec<u8>>);

impl Stored {
    /// Reads the embedded store's files, or Redis' append-only file, to which every write went. What lies in the data
    /// directory in readable form, such as the operator key's file, is not the store.
    pub fn read(stack: &Stack) -> Self {
        let mut files = Vec::new();
        match &stack.redis {
            Some(redis) => collect(&redis.dir().join("appendonlydir"), &mut files),
            None => collect(stack.keygate.data_dir(), &mut files),
        }
        files.retain(|file| std::str::from_utf8(file).is_err() || file.starts_with(b"*"));
        assert!(!files.is_empty(), "there is no store");
        Self(files)
    }

    /// Whether these bytes stand somewhere.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let finder = |file: &Vec<u8>| file.windows(bytes.len()).any(|window| window == bytes);
        self.0.iter().any(finder)
    }
}

fn collect(dir: &Path, files: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(dir).expect("the store's directory can be read") {
        let path = entry.expect("the store's directory can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(fs::read(&path).expect("the store can be read"));
        }
    }
}
