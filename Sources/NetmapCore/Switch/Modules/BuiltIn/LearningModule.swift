/// The learning bridge as a ``SwitchModule``: the behavior of a switch without a module.
///
/// It serves as an example, as a benchmark, and as a base for other modules.
public struct LearningModule: SwitchModule {
  public static var name: String { "learning-module" }
  public static var decidesByAddresses: Bool { true }

  public init(configuration: String = "") throws(NetmapError) {
    guard configuration.isEmpty else {
      throw NetmapError(
        .invalidArgument, "configure", Self.name,
        reason: "a learning bridge takes no configuration",
        remedy: "leave the configuration out")
    }
  }

  public func lookup(_ batch: borrowing SwitchBatch) { Self.decide(batch) }

  static func decide(_ batch: borrowing SwitchBatch) {
    // The verdict on the last packet still holds for the next one with the same addresses.
    let unknown: UInt64 = .max
    var (lastSource, lastTarget) = (unknown, unknown)
    var verdict = SwitchVerdict.drop
    batch.route { packet in
      let (source, target) = (packet.source.rawValue, packet.destination.rawValue)
      if source != lastSource {
        packet.learn()
        lastSource = source
        lastTarget = unknown
      }
      if target != lastTarget {
        verdict = packet.learned
        lastTarget = target
      }
      return verdict
    }
  }
}
