mod loaded;
mod mistakes;
mod never_panics;
mod shipped;
mod tokens;
mod traces;
mod vault;
