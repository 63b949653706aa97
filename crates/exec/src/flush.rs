//! What is put off to the end of a turn.

/// Something that sends what has come together.
pub trait Flush: Send + Sync {
    /// May wake tasks, which run before the turn is over, and may put off something else.
    fn flush(&self);
}
