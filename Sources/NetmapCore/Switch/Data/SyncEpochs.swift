internal import Synchronization

/// The syncs of a switch port's rings that are under way in this process: one number per ring.
///
/// The number is odd from before a sync takes the ring's lock until the sync has released the lock
/// and woken the waiting threads. It is in private memory. Locks and counters in shared segments
/// carry the same information, but every process on the switch can write to them. What this process
/// keeps mapped for its own syncs therefore depends on these numbers alone (``DestinationTable``).
/// All ``MappedPort``s of this process that sync the port share them.
@safe
final class SyncEpochs: Sendable {
  nonisolated(unsafe) private let cells: UnsafeMutableRawPointer

  /// Different threads sync different rings, so each ring's number has cache lines of its own.
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
  /// - Returns: The number, valid as long as this object lives.
  func epoch(_ direction: Direction, _ ring: Int) -> SyncEpoch {
    let place = ring & (SwitchLimits.rings.upperBound - 1)
    return unsafe epoch(at: direction == .transmit ? place : SwitchLimits.rings.upperBound + place)
  }

  /// The number at an index.
  ///
  /// - Parameter index: Below ``count``.
  /// - Returns: The number, valid as long as this object lives.
  func epoch(at index: Int) -> SyncEpoch {
    unsafe SyncEpoch(
      cell: (cells + index * Self.stride).assumingMemoryBound(to: Atomic<UInt64>.self))
  }
}

/// The number of one ring among ``SyncEpochs``.
@unsafe
struct SyncEpoch {
  fileprivate let cell: UnsafeMutablePointer<Atomic<UInt64>>

  /// Begins a sync of the ring, before the sync takes the ring's lock.
  ///
  /// Sequentially consistent. So are the store that unlinks a port from the process's
  /// ``DestinationTable``, the load by which a sync finds the port there, and the load by which
  /// ``EpochWatch`` reads this number. In the single order of all of these, either the watch sees
  /// this number odd, or the sync sees that the port is gone.
  ///
  /// - Returns: False when another thread of this process is syncing the ring, whatever the ring's
  ///   lock says.
  @inline(__always)
  func enter() -> Bool {
    let now = unsafe cell.pointee.load(ordering: .relaxed)
    guard now & 1 == 0 else { return false }
    return unsafe cell.pointee.compareExchange(
      expected: now, desired: now &+ 1, ordering: .sequentiallyConsistent
    ).exchanged
  }

  /// Ends the sync that ``enter()`` began.
  ///
  /// A thread that sees the new number also sees everything that the sync did.
  @inline(__always)
  func leave() {
    let now = unsafe cell.pointee.load(ordering: .relaxed)
    unsafe cell.pointee.store(now &+ 1, ordering: .releasing)
  }

  /// The current number: odd while a sync is under way.
  var value: UInt64 { unsafe cell.pointee.load(ordering: .sequentiallyConsistent) }
}

/// The syncs of this process that were under way at one moment, and whether all of them have ended.
struct EpochWatch {
  private var pending: [Pending] = []

  private struct Pending {
    /// Keeps the number's memory alive.
    let epochs: SyncEpochs
    let index: Int
    let value: UInt64

    var isOver: Bool { unsafe epochs.epoch(at: index).value != value }
  }

  /// Notes the syncs that are under way.
  ///
  /// The caller must first unlink, by a sequentially consistent store, everything that later syncs
  /// must not find.
  init(_ ports: some Sequence<SyncEpochs>) {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    for epochs in ports {
      for index in 0..<SyncEpochs.count {
        let value = unsafe epochs.epoch(at: index).value
        if value & 1 != 0 { pending.append(Pending(epochs: epochs, index: index, value: value)) }
      }
    }
  }

  /// Whether all noted syncs have ended.
  mutating func isOver() -> Bool {
    pending.removeAll(where: \.isOver)
    return pending.isEmpty
  }
}

extension MappedRing {
  /// Takes the ring for one sync.
  ///
  /// A ring on a switch is taken first within this process (``SyncEpoch``), then among processes.
  ///
  /// - Returns: False when another thread has the ring.
  @inline(__always)
  func begin() -> Bool {
    guard let path = unsafe parts.pointee.switching else { return unsafe kring.tryLock(tag) }
    guard unsafe path.pointee.epoch.enter() else { return false }
    return unsafe kring.tryLock(tag) || takeOver(path)
  }

  /// Ends the sync, after it has woken the threads that wait for it.
  @inline(__always)
  func end() {
    unsafe kring.unlock()
    if let path = unsafe parts.pointee.switching { unsafe path.pointee.epoch.leave() }
  }

  /// Takes over a lock that already names this process.
  ///
  /// No thread of this process holds the lock, because the caller has just made the ring's number
  /// odd. Another process has therefore written the word, and no process would ever release the
  /// lock.
  ///
  /// - Returns: False when the lock names another client; then the ring's number is even again.
  @inline(never)
  private func takeOver(_ path: UnsafePointer<SwitchPath>) -> Bool {
    if unsafe kring.isLocked(by: tag) { return true }
    unsafe path.pointee.epoch.leave()
    return false
  }
}
