import NetmapCore
import NetmapTestSupport
import Testing

/// Applies random operations on pipes to the engine and to a model, and compares both after each one.
///
/// `NETMAP_TEST_SEED=7` repeats one run, `NETMAP_TEST_OPERATIONS=100000` makes runs longer.
@Suite("Pools, rings and pipes against a model")
struct PipeModelTests {
  static var seeds: [UInt64] { environmentNumber("NETMAP_TEST_SEED").map { [$0] } ?? Array(1...8) }
  static var operations: UInt64 { environmentNumber("NETMAP_TEST_OPERATIONS") ?? 600 }

  @Test(
    "after random operations the engine equals the model, and every buffer has one owner",
    arguments: seeds)
  func agree(seed: UInt64) throws {
    var world = try ModelWorld(seed: seed)
    for number in 0..<Self.operations {
      let operation = try world.step()
      if operation.contains("UNEXPECTED") {
        Issue.record("seed \(seed), operation \(number), \(operation)")
        return
      }
      let checksPools =
        number % 16 == 0 || operation.contains("open")
        || operation.contains("close")
      if let difference = world.difference(pools: checksPools) {
        Issue.record("seed \(seed), operation \(number), \(operation): \(difference)")
        return
      }
    }
    if let difference = world.finish() {
      Issue.record("seed \(seed), at the end: \(difference)")
    }
  }
}
