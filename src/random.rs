//! Randomness from the operating system.

/// A random number in `0.0..1.0`, to spread retries. Without entropy the middle serves as well.
pub fn unit() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / (f64::from(u32::MAX) + 1.0))
}

/// 128 random bits.
pub fn bits() -> Result<u128, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes))
}
