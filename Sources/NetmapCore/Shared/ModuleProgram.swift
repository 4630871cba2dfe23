internal import Synchronization

/// The module of a switch: one atomic word of the switch's segment, which a sender loads once per flush.
///
/// Any process on the switch can write the word, so every value has a defined meaning.
struct ModuleProgram: Hashable {
  enum Kind: UInt8 {
    /// The switch's own learning bridge, selected by value 0.
    case learning = 0
    case hub = 1
    case balancer = 2
    case filter = 3
    /// A module that exists separately in each process; used in an embedded engine, which is one process.
    case inProcess = 4
    /// All packets go to the module host, a separate process.
    case hosted = 5
    /// The switch forwards nothing.
    case stopped = 6
  }

  var rawValue: UInt64

  init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// - Parameters:
  ///   - kind: The module.
  ///   - area: The configuration area in use, 0 or 1.
  ///   - host: The index of the module host's port, for a hosted module.
  ///   - epoch: The number of changes so far.
  init(_ kind: Kind, area: Int, host: Int = 0, epoch: UInt32) {
    rawValue =
      UInt64(kind.rawValue) | UInt64(area & 1) << 8 | UInt64(host & 0xff) << 16
      | UInt64(epoch) << 32
  }

  /// The kind of module; a value that names no kind selects the learning bridge.
  @inline(__always)
  var kind: Kind { Kind(rawValue: UInt8(truncatingIfNeeded: rawValue)) ?? .learning }

  @inline(__always)
  var isLearning: Bool { UInt8(truncatingIfNeeded: rawValue) == 0 }

  var area: Int { Int(rawValue >> 8 & 1) }
  var host: Int { Int(rawValue >> 16 & 0xff) }
  var epoch: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }
}

/// The module counters that senders keep, by position in the switch's segment.
enum ModuleCounter: Int {
  /// Packets that senders submitted to a module other than the learning bridge.
  case packets = 0
  /// Packets among these that the module dropped or sent to a port that does not exist.
  case dropped = 1
}

extension SwitchView {
  /// The module of the switch.
  ///
  /// The load is sequentially consistent, like the store in ``setProgram(_:)``: a sync that begins after the
  /// store sees the new module.
  @inline(__always)
  var program: ModuleProgram {
    unsafe ModuleProgram(
      rawValue: moduleWord(SwitchLayout.program).pointee.load(ordering: .sequentiallyConsistent))
  }

  func setProgram(_ program: ModuleProgram) {
    unsafe moduleWord(SwitchLayout.program).pointee.store(
      program.rawValue, ordering: .sequentiallyConsistent)
  }

  /// One of the two configuration areas of the switch's module.
  @inline(__always)
  func configuration(_ area: Int) -> ModuleConfiguration {
    unsafe ModuleConfiguration(
      base + SwitchLayout.configurations + (area & 1) * SwitchLayout.configurationByteCount)
  }

  /// Adds to a module counter of one transmit ring.
  ///
  /// Only the holder of the ring's lock calls this, so it needs no atomic addition, which would be most of the
  /// cost of submitting one packet to a module.
  ///
  /// - Parameters:
  ///   - counter: The counter.
  ///   - amount: The number to add; 0 writes nothing.
  ///   - sender: 16 times the port's index, plus the ring's number.
  @inline(__always)
  func count(_ counter: ModuleCounter, _ amount: Int, sender: Int) {
    guard amount > 0 else { return }
    let word = unsafe moduleWord(moduleCounter(counter, sender))
    unsafe word.pointee.store(
      word.pointee.load(ordering: .relaxed) &+ UInt64(truncatingIfNeeded: amount),
      ordering: .relaxed)
  }

  /// The sum of a counter over all senders since the switch was created.
  func value(of counter: ModuleCounter) -> UInt64 {
    (0..<SwitchLayout.moduleCountersCount).reduce(0) {
      unsafe $0 &+ moduleWord(moduleCounter(counter, $1)).pointee.load(ordering: .relaxed)
    }
  }

  @inline(__always)
  private func moduleCounter(_ counter: ModuleCounter, _ sender: Int) -> Int {
    SwitchLayout.moduleCounters + sender &* SwitchLayout.moduleCountersByteCount
      + 8 &* counter.rawValue
  }

  @inline(__always)
  private func moduleWord(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }
}
