internal import Synchronization

/// Which syncs of a switch port's rings are under way in this process: a number for each ring, odd from before
/// the sync takes the ring's lock until after it has released it and woken whoever waits.
///
/// In private memory. Locks and counters in shared segments say the same, but every process on the switch can
/// write to those: what this process keeps mapped for its own syncs hangs on these numbers alone
/// (``DestinationTable``). All ``AttachedPort``s of this process that sync the port share them.
@safe
final class SyncEpochs: Sendable {
  nonisolated(unsafe) private let cells: UnsafeMutableRawPointer

  /// A ring's number has cache lines of its own: rings are synced by different threads.
  private static let stride = 128
  static let count = 2 * SwitchLimits.rings.upperBound

  init() {
    let byteCount = Self.count * Self.stride
    unsafe cells = .allocate(byteCount: byteCount, alignment: Self.stride)
    unsafe cells.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
  }

  deinit { unsafe cells.deallocate() }

  /// The number of a ring.
  ///
  /// - Returns: The number, which lives as long as this object.
  func epoch(_ direction: Direction, _ ring: Int) -> SyncEpoch {
    let place = ring & (SwitchLimits.rings.upperBound - 1)
    return unsafe epoch(at: direction == .transmit ? place : SwitchLimits.rings.upperBound + place)
  }

  /// A number by its place.
  ///
  /// - Parameter index: Below ``count``.
  /// - Returns: The number.
  func epoch(at index: Int) -> SyncEpoch {
    unsafe SyncEpoch(
      cell: (cells + index * Self.stride).assumingMemoryBound(to: Atomic<UInt64>.self))
  }
}

/// The number of one ring among ``SyncEpochs``.
@unsafe
struct SyncEpoch {
  fileprivate let cell: UnsafeMutablePointer<Atomic<UInt64>>

  /// A sync of the ring begins, before it takes the ring's lock.
  ///
  /// Sequentially consistent, as are the store that unlinks a port from the process's ``DestinationTable``, the
  /// load by which a sync finds it there, and the one by which ``EpochWatch`` looks at this number. In the one
  /// order of all of these either the watch sees this number odd, or the sync sees that the port has gone.
  ///
  /// - Returns: False when another thread of this process is syncing the ring, whatever the ring's lock says.
  @inline(__always)
  func enter() -> Bool {
    let now = unsafe cell.pointee.load(ordering: .relaxed)
    guard now & 1 == 0 else { return false }
    return unsafe cell.pointee.compareExchange(
      expected: now, desired: now &+ 1, ordering: .sequentiallyConsistent
    ).exchanged
  }

  /// The sync that entered is over. Whoever sees the number that this leaves sees all that the sync did.
  @inline(__always)
  func leave() {
    let now = unsafe cell.pointee.load(ordering: .relaxed)
    unsafe cell.pointee.store(now &+ 1, ordering: .releasing)
  }

  /// What the number is now: odd while a sync is under way.
  var value: UInt64 { unsafe cell.pointee.load(ordering: .sequentiallyConsistent) }
}

/// The syncs of this process that were under way at one moment, and whether all of them are over.
struct EpochWatch {
  private var pending: [Pending] = []

  private struct Pending {
    /// Keeps the number's memory.
    let epochs: SyncEpochs
    let index: Int
    let value: UInt64

    var isOver: Bool { unsafe epochs.epoch(at: index).value != value }
  }

  /// Notes which syncs are under way. What they must not find any more has been unlinked by a sequentially
  /// consistent store.
  init(_ ports: some Sequence<SyncEpochs>) {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    for epochs in ports {
      for index in 0..<SyncEpochs.count {
        let value = unsafe epochs.epoch(at: index).value
        if value & 1 != 0 { pending.append(Pending(epochs: epochs, index: index, value: value)) }
      }
    }
  }

  /// Whether each of them has ended since.
  mutating func isOver() -> Bool {
    pending.removeAll(where: \.isOver)
    return pending.isEmpty
  }
}

extension AttachedRing {
  /// Takes the ring for one sync, or says that somebody else has it.
  ///
  /// A ring on a switch is taken in this process first (``SyncEpoch``), then among processes.
  @inline(__always)
  func begin() -> Bool {
    guard let path = unsafe parts.pointee.switching else { return unsafe kring.tryLock(tag) }
    guard unsafe path.pointee.epoch.enter() else { return false }
    return unsafe kring.tryLock(tag) || takeOver(path)
  }

  /// The sync is over, and has woken whoever it wakes.
  @inline(__always)
  func end() {
    unsafe kring.unlock()
    if let path = unsafe parts.pointee.switching { unsafe path.pointee.epoch.leave() }
  }

  /// Whether the lock is in this process's own name. No thread of this process has it, or its number among
  /// ``SyncEpochs`` would say so: then another process has written the word, and nobody else would ever
  /// release it.
  @inline(never)
  private func takeOver(_ path: UnsafePointer<SwitchPath>) -> Bool {
    if unsafe kring.lockHolder == tag.rawValue { return true }
    unsafe path.pointee.epoch.leave()
    return false
  }
}
