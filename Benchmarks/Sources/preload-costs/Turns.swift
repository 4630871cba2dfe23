/// Runs of one program without a preload, with the library and with an empty object, in turns.
struct Turns {
  /// The wall-clock times in seconds of one round's three runs.
  struct Round {
    let plain: Double
    let library: Double
    let empty: Double
  }

  private(set) var rounds: [Round] = []
  /// Page faults of all runs of each kind, in the order of ``Round``.
  private(set) var faults = [0, 0, 0]

  /// Runs the program three times for each round. Each kind of run is first, second and last equally often.
  ///
  /// - Throws: ``UsageError`` when the program cannot start.
  init(
    of child: Child, library: String, empty: String, rounds count: Int
  ) throws(UsageError) {
    let objects = [nil, library, empty]
    let orders = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [1, 0, 2], [2, 1, 0]]
    for round in 0..<count {
      var times = [0.0, 0, 0]
      for kind in orders[round % orders.count] {
        let run = try child.run(preloading: objects[kind])
        times[kind] = run.seconds
        faults[kind] += run.faults
      }
      rounds.append(Round(plain: times[0], library: times[1], empty: times[2]))
    }
  }

  /// A quantile of what `value` makes of each round.
  func quantile(_ part: Double, of value: (Round) -> Double) -> Double {
    let values = rounds.map(value).sorted()
    return values[Int(Double(values.count - 1) * part)]
  }

  /// The mean number of page faults of a run: without a preload, with the library, with the empty object.
  var meanFaults: [Double] { faults.map { Double($0) / Double(rounds.count) } }
}
