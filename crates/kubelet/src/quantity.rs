//! Kubernetes quantities (`100m`, `64Mi`).

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Returns a quantity in thousandths, rounded up; `None` if it is not one.
pub(crate) fn milli(quantity: &Quantity) -> Option<u64> {
    let text = quantity.0.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '+').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor: f64 = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let value = (number.parse::<f64>().ok()? * factor * 1000.0).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, negatives do not parse"
    )]
    let value = value as u64;
    Some(value)
}

/// Returns a quantity in whole units, rounded up.
pub(crate) fn whole(quantity: &Quantity) -> Option<u64> {
    milli(quantity).map(|milli| milli.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_upstream() {
        let cases = [
            ("100m", Some(100)),
            ("1.5", Some(1500)),
            ("1Ki", Some(1_024_000)),
            ("1e3", Some(1_000_000)),
            ("-1", None),
            ("x", None),
        ];
        for (text, want) in cases {
            assert_eq!(milli(&Quantity(text.to_owned())), want, "case {text}");
        }
        assert_eq!(whole(&Quantity("100m".to_owned())), Some(1));
    }
}
