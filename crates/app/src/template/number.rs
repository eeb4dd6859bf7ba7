//! Numbers as digits. Compat: Go's `strconv.FormatFloat`.

/// Larger numbers have an exponent, if nobody says how many digits are wanted.
const SHORT: usize = 6;

/// No number has more digits than these; behind them are zeros. The standard library refuses more than 65,535.
const DIGITS: usize = 1100;

/// Binary digits of a number behind its first one.
const MANTISSA_BITS: i32 = 52;

/// Where the first digit of a number stands while it becomes hexadecimal.
const FIRST: u64 = 1 << 60;

/// Returns a number with an exponent: `1.5e+06`.
pub(super) fn exponential(number: f64, precision: Option<usize>) -> String {
    let text = match precision {
        Some(precision) => format!("{number:.*e}", precision.min(DIGITS)),
        None => format!("{number:e}"),
    };
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}{}e{sign}{exponent:0>2}", zeros(precision))
}

/// Returns a number with so many digits behind its point.
pub(super) fn fixed(number: f64, precision: usize) -> String {
    format!("{number:.*}", precision.min(DIGITS)) + &zeros(Some(precision))
}

fn zeros(precision: Option<usize>) -> String {
    "0".repeat(precision.unwrap_or(0).saturating_sub(DIGITS))
}

/// Returns a number as short as it can be, or with so many digits.
pub(super) fn general(number: f64, precision: Option<usize>) -> String {
    let precision = precision.map(|precision| precision.clamp(1, DIGITS));
    let long = match precision {
        Some(precision) => format!("{number:.*e}", precision - 1),
        None => format!("{number:e}"),
    };
    let exponent: i64 =
        long.split_once('e').map_or("0", |(_, exponent)| exponent).parse().unwrap_or_default();
    let limit = precision.unwrap_or(SHORT);
    let is_long = exponent < -4 || i64::try_from(limit).is_ok_and(|limit| exponent >= limit);
    let text = match (is_long, precision) {
        (true, precision) => exponential(number, precision.map(|precision| precision - 1)),
        (false, None) => format!("{number}"),
        (false, Some(precision)) => {
            let places = i64::try_from(precision).unwrap_or(i64::MAX).saturating_sub(1 + exponent);
            format!("{number:.*}", usize::try_from(places).unwrap_or(0))
        }
    };
    if precision.is_none() {
        return text;
    }
    let (digits, exponent) =
        text.split_once('e').map_or((text.as_str(), ""), |(digits, _)| (digits, &text[digits.len()..]));
    if !digits.contains('.') {
        return text;
    }
    format!("{}{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// Returns the binary digits of a number that is not negative, and what two is raised to behind them.
fn parts(number: f64) -> (u64, i32) {
    let bits = number.to_bits();
    let mantissa = bits & ((1 << MANTISSA_BITS) - 1);
    match i32::try_from(bits >> MANTISSA_BITS).unwrap_or(0) {
        0 => (mantissa, -1022),
        exponent => (mantissa | 1 << MANTISSA_BITS, exponent - 1023),
    }
}

/// Returns a number as its binary digits, written as decimal ones: `4503599627370496p-52`.
pub(super) fn binary(number: f64) -> String {
    let (mantissa, exponent) = parts(number);
    format!("{mantissa}p{:+}", exponent - MANTISSA_BITS)
}

/// Returns a number in hexadecimal digits: `0x1.8p+01`.
pub(super) fn hexadecimal(number: f64, precision: Option<usize>) -> String {
    let (mantissa, mut exponent) = parts(number);
    let mut mantissa = mantissa << (60 - MANTISSA_BITS);
    if mantissa == 0 {
        exponent = 0;
    }
    while mantissa != 0 && mantissa & FIRST == 0 {
        mantissa <<= 1;
        exponent -= 1;
    }
    if let Some(precision) = precision.filter(|precision| *precision < 15) {
        let shift = precision * 4;
        let extra = (mantissa << shift) & (FIRST - 1);
        mantissa >>= 60 - shift;
        if extra | (mantissa & 1) > FIRST >> 1 {
            mantissa += 1;
        }
        mantissa <<= 60 - shift;
        if mantissa & (FIRST << 1) != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let behind = format!("{:015x}", mantissa & (FIRST - 1));
    let behind = match precision {
        None => behind.trim_end_matches('0').to_owned(),
        Some(precision) => {
            let known = precision.min(behind.len());
            format!("{}{}", &behind[..known], "0".repeat(precision - known))
        }
    };
    let point = if behind.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("0x{}{point}{behind}p{sign}{:02}", mantissa >> 60, exponent.abs())
}
