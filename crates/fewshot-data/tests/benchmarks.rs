//! Benchmarks by name: their splits, their checks, their protocols.

use burn::tensor::Device;
use fewshot_data::{
    Benchmark, EpisodeSpec, Error, ImageClasses, LoadedBenchmark, Loader, Parts, Pixels, Sets, Split, Tasks, ToDevice,
};

/// Classes of these names and groups, each with so many images that are all one in memory.
fn classes(side: usize, channels: usize, images: usize, names: &[(String, String)]) -> ImageClasses {
    let mut data = ImageClasses::new([channels, side, side]).unwrap();
    for (at, (name, group)) in names.iter().enumerate() {
        let image = vec![at as u8; channels * side * side];
        data.push(name, group, Pixels::from(image).with_rows(vec![0; images])).unwrap();
    }
    data
}

fn numbered(prefix: &str, count: usize) -> Vec<(String, String)> {
    (0..count).map(|i| (format!("{prefix}{i:03}"), format!("{prefix}{}", i / 10))).collect()
}

fn mini(train: usize, images: usize) -> Sets {
    let part = |prefix, count| classes(84, 3, images, &numbered(prefix, count));
    Sets::Parts(Parts { train: part("a", train), val: part("b", 16), test: part("c", 20) })
}

/// The 100 classes of CIFAR-100 with their superclasses, in the order of its `meta` file.
fn cifar_100() -> ImageClasses {
    let superclasses = [
        ("aquatic_mammals", "beaver dolphin otter seal whale"),
        ("fish", "aquarium_fish flatfish ray shark trout"),
        ("flowers", "orchid poppy rose sunflower tulip"),
        ("food_containers", "bottle bowl can cup plate"),
        ("fruit_and_vegetables", "apple mushroom orange pear sweet_pepper"),
        ("household_electrical_devices", "clock keyboard lamp telephone television"),
        ("household_furniture", "bed chair couch table wardrobe"),
        ("insects", "bee beetle butterfly caterpillar cockroach"),
        ("large_carnivores", "bear leopard lion tiger wolf"),
        ("large_man-made_outdoor_things", "bridge castle house road skyscraper"),
        ("large_natural_outdoor_scenes", "cloud forest mountain plain sea"),
        ("large_omnivores_and_herbivores", "camel cattle chimpanzee elephant kangaroo"),
        ("medium_mammals", "fox porcupine possum raccoon skunk"),
        ("non-insect_invertebrates", "crab lobster snail spider worm"),
        ("people", "baby boy girl man woman"),
        ("reptiles", "crocodile dinosaur lizard snake turtle"),
        ("small_mammals", "hamster mouse rabbit shrew squirrel"),
        ("trees", "maple_tree oak_tree palm_tree pine_tree willow_tree"),
        ("vehicles_1", "bicycle bus motorcycle pickup_truck train"),
        ("vehicles_2", "lawn_mower rocket streetcar tank tractor"),
    ];
    let of = |&(group, names): &(&str, &str)| {
        names.split(' ').map(|name| (name.to_owned(), group.to_owned())).collect::<Vec<_>>()
    };
    let names: Vec<_> = superclasses.iter().flat_map(of).collect();
    classes(32, 3, 600, &names)
}

fn counts(loaded: &LoadedBenchmark) -> [usize; 3] {
    Split::ALL.map(|split| loaded.parts().get(split).len())
}

#[test]
fn a_benchmark_gives_its_tasks_normalised() {
    let loaded = Benchmark::mini_imagenet(5, 1).load_sets(mini(64, 600)).unwrap();
    assert_eq!((counts(&loaded), loaded.evaluation_tasks()), ([64, 16, 20], 600));
    let tasks = loaded.tasks(Split::Test, 0).unwrap();
    let task = tasks.draw(3).unwrap().to_device(&Device::flex());
    assert_eq!((task.support.images.dims(), task.query.images.dims()), ([5, 3, 84, 84], [75, 3, 84, 84]));
    // Class c of this data is the byte c everywhere: normalised by 120.39586422 and 70.68188272 in red.
    let class = tasks.episode(3).unwrap().classes()[0];
    let red = task.support.images.slice([0..1, 0..1, 0..1, 0..1]).into_scalar::<f32>();
    let expected = ((class as f64 - 120.39586422) / 70.68188272) as f32;
    // A few units in the last place of a number of this size.
    assert!((red - expected).abs() <= 1e-5, "{red} {expected}");
}

#[test]
fn benchmarks_of_equal_numbers_are_told_apart_by_their_classes() {
    // 64, 16 and 20 classes of 600 images each: the counts of both.
    let cifar = Benchmark::cifar_fs(5, 1).load_sets(Sets::Whole(cifar_100())).unwrap();
    let parts = || Sets::Parts(cifar.parts().clone());
    let error = Benchmark::mini_imagenet(5, 1).load_sets(parts()).unwrap_err().to_string();
    assert_eq!(error, "not mini_imagenet: classes of CIFAR-100; expected classes of ImageNet");
    assert!(Benchmark::cifar_fs(5, 1).load_sets(parts()).is_ok());
    let wnids = |first: usize, count| -> Vec<_> {
        (first..first + count).map(|i| (format!("n{i:08}"), String::new())).collect()
    };
    let part = |first, count| classes(84, 3, 600, &wnids(first, count));
    let mini = || Sets::Parts(Parts { train: part(0, 64), val: part(64, 16), test: part(80, 20) });
    let error = Benchmark::cifar_fs(5, 1).load_sets(mini()).unwrap_err().to_string();
    assert_eq!(error, "not cifar_fs: classes of ImageNet; expected classes of CIFAR-100");
    assert!(Benchmark::mini_imagenet(5, 1).load_sets(mini()).is_ok());
}

#[test]
fn what_is_not_the_benchmark_is_an_error_that_says_where() {
    let says = |sets| Benchmark::mini_imagenet(5, 1).load_sets(sets).unwrap_err().to_string();
    assert_eq!(says(mini(63, 600)), "not mini_imagenet: 63 classes in its train part; expected 64");
    assert_eq!(says(mini(64, 599)), "not mini_imagenet: 599 images of class a000; expected 600");
    let whole = Sets::Whole(classes(84, 3, 600, &numbered("a", 100)));
    assert!(matches!(Benchmark::mini_imagenet(5, 1).load_sets(whole), Err(Error::NoSplit)));
    let loaded = Benchmark::mini_imagenet(5, 1).partial().load_sets(mini(6, 20)).unwrap();
    assert_eq!(counts(&loaded), [6, 16, 20]);
}

#[test]
fn cifar_100_becomes_cifar_fs_or_fc100() {
    let data = cifar_100();
    let fs = Benchmark::cifar_fs(5, 1).load_sets(Sets::Whole(data.clone())).unwrap();
    assert_eq!((counts(&fs), fs.evaluation_tasks()), ([64, 16, 20], 1000));
    assert!(fs.parts().test.index_of("whale").is_some() && fs.parts().val.index_of("beaver").is_some());
    let fc = Benchmark::fc100(5, 1).load_sets(Sets::Whole(data)).unwrap();
    assert_eq!(counts(&fc), [60, 20, 20]);
    // Superclasses, not classes, are kept apart.
    assert_eq!(
        fc.parts().test.groups().into_keys().collect::<Vec<_>>(),
        ["aquatic_mammals", "insects", "medium_mammals", "people"]
    );
    let val: Vec<_> = fc.parts().val.groups().into_keys().collect();
    assert_eq!(
        val,
        ["large_carnivores", "large_omnivores_and_herbivores", "non-insect_invertebrates", "small_mammals"]
    );
}

#[test]
fn omniglot_at_random_is_rotated_in_training_alone() {
    let names: Vec<_> =
        (0..1623).map(|i| (format!("A{}/character{:02}", i / 40, i % 40 + 1), format!("A{}", i / 40))).collect();
    let data = classes(28, 1, 20, &names);
    let benchmark = Benchmark::omniglot(20, 1).with_random_split(7);
    let loaded = benchmark.load_sets(Sets::Whole(data.clone())).unwrap();
    assert_eq!(counts(&loaded), [4400, 100, 423]);
    assert_eq!(loaded.tasks(Split::Val, 0).unwrap().draw(0).unwrap().query.images.shape(), [300, 1, 28, 28]);
    // These are not Omniglot's alphabets, so its own split does not fit them.
    let error = Benchmark::omniglot(20, 1).load_sets(Sets::Whole(data)).unwrap_err();
    assert!(matches!(error, Error::NotTheBenchmark { .. }), "{error}");
}

#[test]
fn omniglot_that_comes_with_its_rotations_is_not_turned_again() {
    let part = |prefix, count| classes(28, 1, 20, &numbered(prefix, count)).with_rotations().unwrap();
    let sets = Sets::Parts(Parts { train: part("a", 3), val: part("b", 2), test: part("c", 2) });
    let loaded = Benchmark::omniglot(2, 1).partial().load_sets(sets).unwrap();
    assert_eq!(counts(&loaded), [12, 2, 2]);
    assert!(loaded.parts().test.classes().iter().all(|class| class.name().ends_with("/rot000")));
}

#[test]
fn parts_have_their_own_tasks_and_specifications() {
    let spec = EpisodeSpec::new(3, 2, 4);
    let loaded = Benchmark::mini_imagenet(5, 1).with_spec(Split::Train, spec).load_sets(mini(64, 600)).unwrap();
    let train = loaded.tasks(Split::Train, 0).unwrap().draw(0).unwrap();
    assert_eq!((train.support.images.shape()[0], train.query.images.shape()[0]), (6, 12));
    let frozen = loaded.frozen(Split::Val, 0).unwrap();
    assert_eq!((frozen.episodes().len(), frozen.spec().query), (600, 15));
    assert_eq!(frozen.episodes()[17], loaded.episodes(Split::Val, 0).unwrap().get(17));
}

#[test]
fn every_choice_has_a_source() {
    for benchmark in [
        Benchmark::omniglot(5, 1),
        Benchmark::mini_imagenet(5, 1),
        Benchmark::tiered_imagenet(5, 1),
        Benchmark::cifar_fs(5, 1),
        Benchmark::fc100(5, 1),
    ] {
        assert!(benchmark.choices().len() >= 5, "{}", benchmark.name());
        assert!(benchmark.choices().iter().all(|choice| !choice.what.is_empty() && !choice.source.is_empty()));
        assert_eq!(Split::ALL.map(|split| benchmark.spec(split).query), [15; 3]);
    }
}

#[test]
fn a_loader_gives_the_tasks_of_a_benchmark_in_order() {
    let tasks = Benchmark::mini_imagenet(5, 1).load_sets(mini(64, 600)).unwrap().tasks(Split::Train, 9).unwrap();
    let alone: Vec<_> = (0..6).map(|index| tasks.draw(index).unwrap()).collect();
    let ahead: Vec<_> = Loader::new(tasks).with_threads(3).iter_from(0).take(6).map(Result::unwrap).collect();
    assert_eq!(alone, ahead);
}
