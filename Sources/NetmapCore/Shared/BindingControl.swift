internal import Synchronization

/// How the application drives a binding's rings.
package enum BindingMode: UInt32, Sendable {
  /// By syncs and waits.
  case rings = 0
  /// By CSB memory: syncs and waits on the descriptor are refused.
  case csb = 1
  /// By CSB memory that a loop reads (`NETMAP_REQ_SYNC_KLOOP_START`).
  case loop = 2
}

/// The words of a binding that every process which has it mapped may change: its mode, the owner of its sync loop, and
/// the request to stop the loop.
///
/// They lie in the binding's record because the process that asks for a change is often not the one that syncs. Each
/// process with the port mapped can write any of them. A wrong value makes syncs and waits of that binding return
/// errors, keeps a loop from starting, or ends it; no address and no index is made of one.
@unsafe
package struct BindingControl {
  private let base: UnsafeMutableRawPointer

  init(base: UnsafeMutableRawPointer) {
    unsafe self.base = base
  }

  /// The mode; ``BindingMode/rings`` for a value that is none.
  package var mode: BindingMode {
    unsafe BindingMode(rawValue: word(BindingLayout.mode).pointee.load(ordering: .acquiring))
      ?? .rings
  }

  package func setMode(_ mode: BindingMode) {
    unsafe word(BindingLayout.mode).pointee.store(mode.rawValue, ordering: .releasing)
  }

  /// The tag of the client that runs the sync loop; 0 when none does.
  package var loopOwner: UInt64 {
    unsafe owner.pointee.load(ordering: .acquiring)
  }

  /// Makes a client the owner of the sync loop.
  ///
  /// - Returns: False when a loop is running already.
  package func claimLoop(_ tag: ClientTag) -> Bool {
    unsafe owner.pointee.compareExchange(
      expected: 0, desired: tag.rawValue, ordering: .acquiringAndReleasing
    ).exchanged
  }

  /// Ends a client's ownership of the sync loop.
  ///
  /// - Returns: Whether the client had it.
  @discardableResult
  package func releaseLoop(_ tag: ClientTag) -> Bool {
    unsafe owner.pointee.compareExchange(
      expected: tag.rawValue, desired: 0, ordering: .acquiringAndReleasing
    ).exchanged
  }

  /// Asks the loop to stop.
  ///
  /// The request stays until a loop takes it, also if none is running yet.
  package func requestStop() {
    unsafe word(BindingLayout.stop).pointee.store(1, ordering: .releasing)
  }

  /// Whether the loop has been asked to stop.
  package var isStopRequested: Bool {
    unsafe word(BindingLayout.stop).pointee.load(ordering: .acquiring) != 0
  }

  /// Takes the request to stop, if there is one.
  package func takeStop() -> Bool {
    unsafe word(BindingLayout.stop).pointee.exchange(0, ordering: .acquiringAndReleasing) != 0
  }

  /// Makes the words those of a new binding.
  func clear() {
    unsafe word(BindingLayout.mode).pointee.store(0, ordering: .relaxed)
    unsafe word(BindingLayout.stop).pointee.store(0, ordering: .relaxed)
    unsafe owner.pointee.store(0, ordering: .releasing)
  }

  private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  private var owner: UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + BindingLayout.loopOwner).assumingMemoryBound(to: Atomic<UInt64>.self)
  }
}

extension SyncSegment {
  /// The words of binding `index` that processes change, even if no such binding exists at present; nil when the index
  /// is out of range.
  package func control(ofBinding index: Int) -> BindingControl? {
    guard (0..<EngineLimits.bindingsPerPort).contains(index) else { return nil }
    return unsafe BindingControl(base: memory.base + Self.offset(ofBinding: index))
  }

  /// Ends the sync loops of a dead client.
  ///
  /// The caller must know that the client is dead.
  ///
  /// - Returns: The number of loops that it had.
  package func releaseLoops(of tag: ClientTag) -> Int {
    (0..<EngineLimits.bindingsPerPort).count {
      unsafe control(ofBinding: $0)?.releaseLoop(tag) == true
    }
  }
}
