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
            Some(redis) => {
                // A folder since Redis 7, one file before.
                let places = ["appendonlydir", "appendonly.aof"].map(|name| redis.dir().join(name));
                places.iter().filter(|place| place.exists()).for_each(|place| collect(place, &mut files));
            }
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

fn collect(path: &Path, files: &mut Vec<Vec<u8>>) {
    if !path.is_dir() {
        files.push(fs::read(path).expect("the store can be read"));
        return;
    }
    for entry in fs::read_dir(path).expect("the store's directory can be read") {
        collect(&entry.expect("the store's directory can be read").path(), files);
    }
}
