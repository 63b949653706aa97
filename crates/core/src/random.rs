//! Chance, which spreads what would otherwise happen all at once.

/// A source of random numbers. Tests have one that can be repeated.
pub trait Random: Send + Sync {
    /// A number in `0.0..1.0`.
    fn unit(&self) -> f64;
}
