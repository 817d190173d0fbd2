//! Logits come in; probabilities and the greatest class go out, without overflow however large the logits are.

/// Softmax: each in [0, 1], summing to 1.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|logit| (logit - greatest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|exponential| exponential / sum).collect()
}

/// ln(sum of exp), the smooth maximum.
pub fn log_sum_exp(logits: &[f64]) -> f64 {
    let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    greatest + logits.iter().map(|logit| (logit - greatest).exp()).sum::<f64>().ln()
}

/// Index of the greatest value, the first of equals; 0 for none.
pub fn argmax(values: &[f64]) -> usize {
    values
        .iter()
        .enumerate()
        .fold((0, f64::NEG_INFINITY), |best, (index, &value)| if value > best.1 { (index, value) } else { best })
        .0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_of_huge_logits_is_finite() {
        let probabilities = softmax(&[1000.0, 999.0, -1000.0]);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((probabilities[0] - 1.0 / (1.0 + (-1.0f64).exp())).abs() < 1e-12);
        assert!(probabilities[2] < 1e-300);
    }

    #[test]
    fn log_sum_exp_agrees_with_its_definition() {
        let naive = (0.3f64.exp() + (-1.2f64).exp() + 2.0f64.exp()).ln();
        assert!((log_sum_exp(&[0.3, -1.2, 2.0]) - naive).abs() < 1e-12);
        assert!((log_sum_exp(&[-2000.0, -2000.0]) - (-2000.0 + 2.0f64.ln())).abs() < 1e-9);
    }

    #[test]
    fn argmax_takes_the_first_of_equals() {
        assert_eq!(argmax(&[0.1, 0.4, 0.4, 0.1]), 1);
        assert_eq!(argmax(&[-3.0, -2.0, -5.0]), 1);
        assert_eq!(argmax(&[]), 0);
    }
}
