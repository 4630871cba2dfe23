internal import Synchronization

/// Which module a switch has: one atomic word of its segment, which a sender reads once a flush.
///
/// Any process on the switch can write to it, so every value means something.
struct ModuleProgram: Hashable {
  enum Kind: UInt8 {
    /// The switch's own learning bridge, which no value is needed for.
    case learning = 0
    case hub = 1
    case balancer = 2
    case filter = 3
    /// A module that each process has for itself: in an embedded engine, which is one process.
    case inProcess = 4
    /// All packets go to the module host, a process of its own.
    case hosted = 5
    /// Nothing is forwarded.
    case stopped = 6
  }

  var rawValue: UInt64

  init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// - Parameters:
  ///   - kind: The module.
  ///   - area: Which of the two configuration areas is in use.
  ///   - host: Of a hosted module: the index of its port.
  ///   - epoch: Counts changes.
  init(_ kind: Kind, area: Int, host: Int = 0, epoch: UInt32) {
    rawValue =
      UInt64(kind.rawValue) | UInt64(area & 1) << 8 | UInt64(host & 0xff) << 16
      | UInt64(epoch) << 32
  }

  /// What is no module is the learning bridge.
  @inline(__always)
  var kind: Kind { Kind(rawValue: UInt8(truncatingIfNeeded: rawValue)) ?? .learning }

  @inline(__always)
  var isLearning: Bool { UInt8(truncatingIfNeeded: rawValue) == 0 }

  var area: Int { Int(rawValue >> 8 & 1) }
  var host: Int { Int(rawValue >> 16 & 0xff) }
  var epoch: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }
}

/// What a switch counts about its module, by place in the segment.
enum ModuleCounter: Int {
  /// Packets that a module other than the learning bridge was asked about, since it was chosen.
  case packets = 0
  /// Those of them that it dropped, or gave to nobody that there is.
  case dropped = 1
}

extension BridgeView {
  /// The module of the switch.
  ///
  /// Sequentially consistent, as the store that changes it: a sync that began later sees it.
  @inline(__always)
  var program: ModuleProgram {
    unsafe ModuleProgram(
      rawValue: moduleWord(BridgeLayout.program).pointee.load(ordering: .sequentiallyConsistent))
  }

  func setProgram(_ program: ModuleProgram) {
    unsafe moduleWord(BridgeLayout.program).pointee.store(
      program.rawValue, ordering: .sequentiallyConsistent)
  }

  /// The configuration of a built-in module.
  @inline(__always)
  func configuration(_ area: Int) -> UnsafeMutableRawPointer {
    unsafe base + BridgeLayout.configurations + (area & 1) * BridgeLayout.configurationByteCount
  }

  @inline(__always)
  func count(_ counter: ModuleCounter, _ amount: Int) {
    guard amount > 0 else { return }
    _ = unsafe moduleWord(BridgeLayout.moduleCounters + 8 * counter.rawValue).pointee
      .wrappingAdd(UInt64(truncatingIfNeeded: amount), ordering: .relaxed)
  }

  func value(of counter: ModuleCounter) -> UInt64 {
    unsafe moduleWord(BridgeLayout.moduleCounters + 8 * counter.rawValue).pointee
      .load(ordering: .sequentiallyConsistent)
  }

  func clear(_ counter: ModuleCounter) {
    unsafe moduleWord(BridgeLayout.moduleCounters + 8 * counter.rawValue).pointee
      .store(0, ordering: .relaxed)
  }

  @inline(__always)
  private func moduleWord(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }
}
