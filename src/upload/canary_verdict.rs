//! The rule that judges a canary.
//!
//! The rule takes, for each path, the share of the ended sessions that ended without a file, and subtracts the share of
//! the compat path from that of the direct path: a positive difference means that the direct path is worse. A hash
//! assigns each session to a path, so both paths get the same mix of sizes and clients. The 95 % interval of the
//! difference is that of Agresti and Caffo: it adds one success and one failure to each path, which makes it reliable
//! for small numbers and for shares near 0. One internal error on the direct path decides against that path, whatever
//! the shares.

use crate::api::{CanaryCounts, CanaryVerdict};

/// Number of standard errors on each side of a 95 % interval.
const Z: f64 = 1.96;

/// One side of the comparison: the counts of one path, over all sizes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arm {
    pub ended: u64,
    pub without_file: u64,
    pub internal_errors: u64,
}

impl Arm {
    pub(super) fn of(counts: &[CanaryCounts]) -> Self {
        counts.iter().fold(Self::default(), |sum, counts| {
            let without_file = counts.aborted.saturating_add(counts.expired);
            Self {
                ended: sum.ended.saturating_add(counts.finished).saturating_add(without_file),
                without_file: sum.without_file.saturating_add(without_file),
                internal_errors: sum.internal_errors.saturating_add(counts.internal_errors),
            }
        })
    }

    /// Returns the observed share of sessions without a file. [`Self::estimated_share`] is closer to one half, since it
    /// includes the success and the failure that the interval adds.
    fn observed_share(&self) -> f64 {
        if self.ended == 0 { 0.0 } else { self.without_file as f64 / self.ended as f64 }
    }

    /// Returns the estimated share of sessions without a file, and its variance: the square of its standard error.
    fn estimated_share(&self) -> (f64, f64) {
        // One success and one failure are added.
        let ended = self.ended as f64 + 2.0;
        let share = (self.without_file as f64 + 1.0) / ended;
        let variance = share * (1.0 - share) / ended;
        (share, variance)
    }
}

/// `difference`, of the estimated shares, and `uncertainty`, half the width of the interval, in percentage points.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub difference: f64,
    pub uncertainty: f64,
    pub verdict: CanaryVerdict,
    pub summary: String,
}

/// Compares the direct path with the compat path. The verdict is "worse" if the lower end of the interval is above 0 or
/// the direct path has an internal error; otherwise "no difference" if the upper end does not exceed the margin, in
/// percentage points.
pub(super) fn judge(compat: Arm, direct: Arm, margin_percent: u8) -> Judged {
    let (compat_share, compat_variance) = compat.estimated_share();
    let (direct_share, direct_variance) = direct.estimated_share();
    let margin = f64::from(margin_percent);
    let difference = 100.0 * (direct_share - compat_share);
    let uncertainty = 100.0 * Z * (compat_variance + direct_variance).sqrt();
    let internal_errors = direct.internal_errors;
    let (verdict, text) = if internal_errors > 0 || difference > uncertainty {
        let verdict = CanaryVerdict::Worse { by: difference, internal_errors };
        (verdict, format!("worse, by {difference:.1} points; internal errors: {internal_errors}"))
    } else if difference + uncertainty <= margin {
        (CanaryVerdict::NoDifferenceSeen, format!("no difference seen, at most {margin} points"))
    } else {
        let observed_difference = 100.0 * (direct.observed_share() - compat.observed_share());
        let sessions = sessions_needed(
            compat.ended.saturating_add(direct.ended),
            observed_difference,
            uncertainty,
            margin,
        );
        (CanaryVerdict::NeedsMore { sessions }, format!("about {sessions} more sessions must end"))
    };
    let summary = format!(
        "direct compared with compat: {text} ({} of {} ended without a file, and {} of {}; the difference is {difference:.1} \
         points ± {uncertainty:.1})",
        direct.without_file, direct.ended, compat.without_file, compat.ended
    );
    Judged { difference, uncertainty, verdict, summary }
}

/// Estimates how many more sessions must end until the interval is narrow enough for a verdict, if the observed
/// `difference` stays the same. The width of the interval is inversely proportional to the square root of the number of
/// ended sessions, to which the interval adds four.
fn sessions_needed(ended: u64, difference: f64, uncertainty: f64, margin: f64) -> u64 {
    // The verdict is "no difference" at an uncertainty of up to `margin - difference`, and "worse" at one below
    // `difference`: the larger of the two is reached first. The tenth of a point keeps the estimate finite.
    let narrow_enough_uncertainty = (margin - difference).max(difference).max(0.1);
    let counted_sessions = ended as f64 + 4.0;
    let needed_sessions = counted_sessions * (uncertainty / narrow_enough_uncertainty).powi(2);
    (needed_sessions - counted_sessions).ceil().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(without_file: u64, ended: u64) -> Arm {
        Arm { ended, without_file, internal_errors: 0 }
    }

    fn verdict(compat: Arm, direct: Arm) -> CanaryVerdict {
        judge(compat, direct, 2).verdict
    }

    #[test]
    fn an_arm_is_the_sum_of_all_sizes() {
        let counts = |finished, aborted, expired, internal_errors| CanaryCounts {
            finished,
            aborted,
            expired,
            internal_errors,
            ..CanaryCounts::default()
        };
        let arm = Arm::of(&[counts(1, 2, 3, 4), counts(10, 20, 30, 40)]);
        assert_eq!((arm.ended, arm.without_file, arm.internal_errors), (66, 55, 44));
    }

    /// Calculated by hand: shares 3/102 and 13/102, standard error 0.0370, difference 9.8 points.
    #[test]
    fn the_interval_is_that_of_agresti_and_caffo() {
        let judged = judge(arm(2, 100), arm(12, 100), 2);
        assert!((judged.difference - 9.804).abs() < 0.001, "{judged:?}");
        assert!((judged.uncertainty - 7.259).abs() < 0.01, "{judged:?}");
        assert!(matches!(judged.verdict, CanaryVerdict::Worse { by, internal_errors: 0 } if by > 9.0));
        assert!(judged.summary.contains("worse, by 9.8 points"), "{}", judged.summary);
        assert!(
            judged.summary.contains("12 of 100 ended without a file, and 2 of 100"),
            "{}",
            judged.summary
        );
    }

    /// Half the width takes four times as many sessions: 400 instead of 100, so 300 more. Four of the 100 are added by
    /// the interval, hence 96.
    #[test]
    fn sessions_needed_grow_with_the_inverse_square_of_the_width() {
        assert_eq!(sessions_needed(96, 0.0, 4.0, 2.0), 300);
        assert_eq!(
            sessions_needed(96, 6.0, 12.0, 2.0),
            300,
            "the interval must become narrower than the difference"
        );
        assert_eq!(sessions_needed(96, 0.0, 1.0, 2.0), 1);
    }

    #[test]
    fn the_sessions_needed_follow_from_the_shares_that_were_seen() {
        for (compat, direct, seen) in [
            (arm(1, 30), arm(2, 30), 100.0 / 30.0),
            (arm(2, 30), arm(1, 30), -100.0 / 30.0),
            (arm(0, 0), arm(0, 0), 0.0),
        ] {
            let judged = judge(compat, direct, 2);
            let sessions = sessions_needed(compat.ended + direct.ended, seen, judged.uncertainty, 2.0);
            let CanaryVerdict::NeedsMore { sessions: estimate } = judged.verdict else {
                panic!("more sessions should be needed: {judged:?}")
            };
            assert!(estimate.abs_diff(sessions) <= 1, "{estimate}, expected {sessions}");
        }
    }

    // In the third case, only the compat path has few.
    #[test]
    fn few_sessions_give_no_verdict() {
        for (compat, direct) in [
            (arm(0, 0), arm(0, 0)),
            (arm(0, 5), arm(1, 5)),
            (arm(0, 20), arm(0, 400)),
            (arm(1, 30), arm(2, 30)),
        ] {
            let CanaryVerdict::NeedsMore { sessions } = verdict(compat, direct) else {
                panic!(
                    "more sessions should be needed for {compat:?} {direct:?}: {:?}",
                    verdict(compat, direct)
                );
            };
            assert!(sessions > 0, "{compat:?} {direct:?}");
        }
    }

    // Three times the estimate is added to the sessions that have ended; the shares stay about the same.
    #[test]
    fn three_times_the_estimated_sessions_give_a_verdict() {
        for (compat, direct) in
            [(arm(2, 50), arm(20, 950)), (arm(1, 40), arm(9, 160)), (arm(0, 20), arm(0, 380))]
        {
            let CanaryVerdict::NeedsMore { sessions } = verdict(compat, direct) else {
                panic!("more sessions should be needed for {compat:?} {direct:?}")
            };
            let ended = compat.ended + direct.ended;
            let grown = |arm: Arm| {
                let times = (ended + 3 * sessions) as f64 / ended as f64;
                let scaled = |number: u64| (number as f64 * times) as u64;
                Arm { ended: scaled(arm.ended), without_file: scaled(arm.without_file), internal_errors: 0 }
            };
            let later = verdict(grown(compat), grown(direct));
            assert!(!matches!(later, CanaryVerdict::NeedsMore { .. }), "{compat:?} {direct:?}: {later:?}");
        }
    }

    #[test]
    fn many_sessions_with_equal_outcomes_show_no_difference() {
        assert_eq!(verdict(arm(10, 500), arm(190, 9_500)), CanaryVerdict::NoDifferenceSeen);
        assert_eq!(
            verdict(arm(100, 500), arm(20, 9_500)),
            CanaryVerdict::NoDifferenceSeen,
            "the direct path is better"
        );
    }

    #[test]
    fn one_internal_error_is_one_too_many() {
        let direct = Arm { internal_errors: 1, ..arm(0, 10_000) };
        let worse = verdict(arm(0, 10_000), direct);
        assert!(matches!(worse, CanaryVerdict::Worse { internal_errors: 1, .. }), "{worse:?}");
    }
}
