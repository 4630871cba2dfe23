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

/// What senders count about the switch's module, by place in the segment.
enum ModuleCounter: Int {
  /// Packets that a module other than the learning bridge was asked about.
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
  func configuration(_ area: Int) -> ModuleConfiguration {
    unsafe ModuleConfiguration(
      base + BridgeLayout.configurations + (area & 1) * BridgeLayout.configurationByteCount)
  }

  /// Counts for one transmit ring: by whoever holds its lock, so without an atomic addition, which would be
  /// most of what asking a module about one packet costs.
  ///
  /// - Parameters:
  ///   - counter: What is counted.
  ///   - amount: How many; nothing is written for 0.
  ///   - sender: The port's index, 16 times, and its ring.
  @inline(__always)
  func count(_ counter: ModuleCounter, _ amount: Int, sender: Int) {
    guard amount > 0 else { return }
    let word = unsafe moduleWord(moduleCounter(counter, sender))
    unsafe word.pointee.store(
      word.pointee.load(ordering: .relaxed) &+ UInt64(truncatingIfNeeded: amount),
      ordering: .relaxed)
  }

  /// What all senders have counted since there is the switch.
  func value(of counter: ModuleCounter) -> UInt64 {
    (0..<BridgeLayout.moduleCountersCount).reduce(0) {
      unsafe $0 &+ moduleWord(moduleCounter(counter, $1)).pointee.load(ordering: .relaxed)
    }
  }

  @inline(__always)
  private func moduleCounter(_ counter: ModuleCounter, _ sender: Int) -> Int {
    BridgeLayout.moduleCounters + sender &* BridgeLayout.moduleCountersByteCount
      + 8 &* counter.rawValue
  }

  @inline(__always)
  private func moduleWord(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }
}
