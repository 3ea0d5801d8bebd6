//! Laws of collectives, on ranks that are threads.

use super::*;

/// Numbers of a rank whose sums depend on the order in which they are added.
fn numbers(rank: usize, len: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 31 + rank * 17) % 101) as f32 * 10f32.powi(rank as i32 - 2) - 0.3;
    (0..len).map(number).collect()
}

#[test]
fn a_sum_is_taken_in_the_order_of_ranks_and_costs_what_is_said() {
    for (size, len) in [(1, 5), (2, 1), (2, 70_000), (3, 7), (3, 20_001), (5, 0), (5, 3), (5, 4099)]
    {
        let found = Ranks::on_threads(size, |ranks| {
            let mut values = numbers(ranks.rank(), len);
            ranks.comm::<f32>().all_reduce_sum(&mut values);
            let mut gathered = vec![0.0; size * len];
            let before = ranks.traffic();
            ranks.comm::<f32>().all_gather(&numbers(ranks.rank(), len), &mut gathered);
            (values, before, gathered, ranks.traffic())
        });
        let mut expected = numbers(0, len);
        for rank in 1..size {
            expected.iter_mut().zip(numbers(rank, len)).for_each(|(sum, x)| *sum += x);
        }
        let all: Vec<f32> = (0..size).flat_map(|rank| numbers(rank, len)).collect();
        for (values, sum, gathered, both) in found {
            assert_eq!(values, expected, "{len} on {size}");
            assert_eq!(gathered, all, "{len} on {size}");
            if len > 0 {
                let (of_sum, of_gather) =
                    (traffic_of_sum(len, 4, size), traffic_of_gather(len, 4, size));
                assert_eq!(sum, of_sum, "{len} on {size}");
                assert_eq!(both.bytes - sum.bytes, of_gather.bytes);
                assert_eq!(both.exchanges - sum.exchanges, of_gather.exchanges);
            }
        }
    }
    // Both ways to a sum were taken above.
    assert!(takes_one_exchange(7, 3) && !takes_one_exchange(20_001, 3));
}

#[test]
fn sums_in_the_background_are_those_sums_whatever_comes_meanwhile() {
    let lens = [1, 70_000, 0, 300, 20_001];
    for size in [1, 2, 3] {
        Ranks::on_threads(size, |ranks| {
            let comm = ranks.comm::<f32>();
            let begun = lens.map(|len| comm.start_sum(numbers(ranks.rank(), len)));
            let mut now = lens.map(|len| numbers(ranks.rank(), len));
            now.iter_mut().for_each(|values| comm.all_reduce_sum(values));
            assert_eq!(begun.map(Pending::wait), now);
            let costs = lens.map(|len| traffic_of_sum(len, 4, size).bytes);
            assert_eq!(ranks.traffic().bytes, 2 * costs.iter().sum::<u64>());
        });
    }
}

#[test]
#[should_panic(expected = "another rank has ended while this one waits for a sum")]
fn a_rank_that_ends_does_not_leave_sums_waiting() {
    Ranks::on_threads(2, |ranks| {
        if ranks.rank() == 0 {
            ranks.comm::<f64>().start_sum(vec![1.0]).wait();
        }
    });
}

#[test]
fn words_of_any_length_come_to_all() {
    let said = Ranks::on_threads(3, |ranks| {
        let words = ["", "two", "a longer one"][ranks.rank()];
        ranks.wait();
        (ranks.gather_bytes(words.as_bytes()), ranks.from_first(words.as_bytes()))
    });
    for (all, first) in said {
        assert_eq!(all, [b"".to_vec(), b"two".to_vec(), b"a longer one".to_vec()]);
        assert!(first.is_empty());
    }
    assert_eq!(Ranks::alone().from_first(b"me"), b"me");
}

#[test]
#[should_panic(expected = "rank 1 has ended while rank 0 waits for it")]
fn a_rank_that_ends_does_not_leave_the_others_waiting() {
    Ranks::on_threads(3, |ranks| {
        if ranks.rank() != 1 {
            ranks.comm::<f64>().all_reduce_sum(&mut [1.0]);
        }
    });
}
