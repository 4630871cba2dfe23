internal import Synchronization

/// Drives the rings of a binding in CSB mode: syncs them as the application's control blocks ask, and publishes the
/// results there (`NETMAP_REQ_SYNC_KLOOP_START`).
///
/// The application may be a program, or the guest of a virtual machine. The loop trusts nothing that it writes: cursors out
/// of place reset the ring, as those of a sync do, and no value keeps the loop from ending.
///
/// The owner of the thread calls ``turn(_:)`` again and again. Between turns it sleeps, as
/// ``Turn`` says. Only one thread at a time uses the object. The control blocks must stay mapped until ``end()``.
@safe
package final class SyncLoop {
  /// The port, which the loop keeps mapped.
  package let port: MappedPort
  private let control: BindingControl
  private let tag: ClientTag
  private let process = unsafe ForkGuard.Mark()
  private let parts: UnsafeMutablePointer<RingParts>
  private let tails: UnsafeMutablePointer<Atomic<UInt32>>
  private let rings: UnsafeMutablePointer<LoopRing>
  private let count: Int
  /// Whether the loop looks again and again; otherwise it sleeps until something happens.
  package let isPolling: Bool
  private let signals: [PrivateDescriptor?]
  private var hasEnded = false

  /// How a loop is woken, and wakes the application.
  package struct Settings {
    /// An eventfd for each ring by which to wake the application, transmit rings first; a negative number for none.
    package var signals: [CInt] = []
    /// Whether the application wakes the loop when it is asked to (``LoopKicks``); otherwise the loop looks again and
    /// again.
    package var isNotified = false
    /// The directions in which the application wakes the loop for every change.
    ///
    /// Without notifications, nothing drives the rings of these directions, as in netmap.
    package var direct: Set<Direction> = []

    package init() {}
  }

  /// What is to be done after a turn.
  package struct Turn {
    /// The loop was asked to stop, or this process is a fork child: call ``end()``.
    package var isLast = false
    /// Do not sleep: there is more to do.
    package var hasMore = false
    /// A sleep may miss progress, and should last for milliseconds only.
    package var isUnsure = false
    /// The directions whose backends' descriptors end a sleep.
    package var wanted: Readiness = []
  }

  /// Begins a loop: the client becomes its owner.
  ///
  /// - Parameters:
  ///   - port: The port.
  ///   - tag: The client that the port is mapped as.
  ///   - blocks: An entry for each ring of the binding.
  ///   - settings: How to wake.
  /// - Throws: ``NetmapError`` `EBUSY` while a loop of the binding runs, `EBADF` or `EINVAL` for a signal that is no
  ///   eventfd, `EINVAL` for another number of signals than rings.
  package init(
    _ port: MappedPort, _ tag: ClientTag, _ blocks: ControlBlocks, _ settings: Settings = Settings()
  ) throws(NetmapError) {
    guard let control = unsafe port.control else {
      throw NetmapError(.invalidArgument, "start", "sync loop", reason: "the port has no record")
    }
    count = port.transmitCount + port.receiveCount
    guard settings.signals.isEmpty || settings.signals.count == count else {
      throw NetmapError(
        .invalidArgument, "start", "sync loop",
        reason: "the port has \(count) rings, and \(settings.signals.count) eventfds are given")
    }
    guard unsafe control.claimLoop(tag) else {
      throw NetmapError(
        .busy, "start", "sync loop", reason: "a loop drives the port already",
        remedy: "stop it first (NETMAP_REQ_SYNC_KLOOP_STOP)")
    }
    var signals: [PrivateDescriptor?] = []
    do throws(NetmapError) {
      for file in settings.signals {
        signals.append(file < 0 ? nil : try EventDescriptor.copy(of: file))
      }
    } catch {
      for signal in signals { signal?.close() }
      _ = unsafe control.takeStop()
      unsafe control.releaseLoop(tag)
      throw error
    }
    self.port = port
    self.tag = tag
    unsafe self.control = control
    self.signals = signals
    isPolling = !settings.isNotified
    unsafe control.setMode(.loop)
    unsafe parts = .allocate(capacity: max(count, 1))
    unsafe tails = .allocate(capacity: max(count, 1))
    unsafe rings = .allocate(capacity: max(count, 1))
    for index in 0..<count {
      unsafe (tails + index).initialize(to: Atomic(0))
      unsafe (parts + index).initialize(
        to: port.partsOfLoop(index, showingTailAt: ShownTail(at: tails + index)))
      let isDirect = settings.direct.contains(index < port.transmitCount ? .transmit : .receive)
      unsafe (rings + index).initialize(
        to: LoopRing(
          MappedRing(parts + index), blocks[index],
          signal: signals.isEmpty ? -1 : signals[index]?.number ?? -1,
          isDirect ? .direct : settings.isNotified ? .notified : .polled))
    }
  }

  deinit {
    end()
    unsafe rings.deinitialize(count: count)
    unsafe parts.deinitialize(count: count)
    unsafe tails.deinitialize(count: count)
    unsafe rings.deallocate()
    unsafe parts.deallocate()
    unsafe tails.deallocate()
  }

  /// Looks once at every ring, transmit rings first, and syncs those with something to do.
  ///
  /// - Parameter sleeper: How to announce the thread, for progress after its look at a ring; nil if it will not sleep.
  /// - Returns: What is to be done next.
  package func turn(_ sleeper: Announcement?) -> Turn {
    var result = Turn()
    guard unsafe process.isThisProcess else {
      result.isLast = true
      return result
    }
    if let sleeper, !isPolling {
      result.isUnsure = !port.arm([.transmit, .receive], as: sleeper)
      atomicMemoryFence(ordering: .sequentiallyConsistent)
    }
    if unsafe control.isStopRequested {
      result.isLast = true
      return result
    }
    for index in 0..<count {
      if isPolling, unsafe rings[index].rule == .direct { continue }
      let isTransmit = index < port.transmitCount
      switch unsafe rings[index].look() {
      case .idle: if !isTransmit { result.wanted.insert(.receive) }
      case .full: if isTransmit { result.wanted.insert(.transmit) }
      case .unfinished: result.hasMore = true
      case .failed: result.isUnsure = true
      }
    }
    return result
  }

  /// Ends the loop: takes the request to stop, and gives up the ownership. Later calls do nothing.
  package func end() {
    guard !hasEnded, unsafe process.isThisProcess else { return }
    hasEnded = true
    for signal in signals { signal?.close() }
    unsafe control.setMode(.csb)
    _ = unsafe control.takeStop()
    unsafe control.releaseLoop(tag)
  }
}

extension MappedPort {
  /// The client that locks the rings; nil for a binding without rings.
  package var clientTag: ClientTag? {
    transmitCount + receiveCount > 0 ? unsafe rings.pointee.tag : nil
  }

  /// The words of the binding that its processes change.
  package var control: BindingControl? { unsafe segment.control(ofBinding: bindingIndex) }

  /// The description of a ring for a loop, which drives it by a control block.
  ///
  /// - Parameters:
  ///   - index: The ring, transmit rings first.
  ///   - tail: Where syncs show the end of the application's slots in place of the ring.
  /// - Returns: A copy for the loop.
  fileprivate func partsOfLoop(
    _ index: Int, showingTailAt tail: ShownTail
  ) -> RingParts {
    var result = unsafe rings[index]
    unsafe result.shownTail = tail
    unsafe result.forwarding = nil
    return unsafe result
  }

  /// Fills control blocks with the state of the rings, as a loop begins (`netmap_csb_validate`).
  ///
  /// - Parameter store: Gets the number of a ring, transmit rings first, and its cursors, which are slot indexes.
  package func describeRings(_ store: (Int, RingStart) -> Void) {
    for index in 0..<transmitCount + receiveCount {
      let ring = unsafe MappedRing(rings + index)
      let count = unsafe ring.ring.slotCount
      let hwcur = unsafe ring.kring.hwcur(below: count) ?? 0
      store(
        index,
        unsafe RingStart(
          head: ring.kring.rhead(below: count) ?? hwcur,
          cur: ring.kring.cursors.rcur,
          hwcur: hwcur, hwtail: ring.kring.hwtail(below: count) ?? hwcur))
    }
  }

  /// Asks the loop that drives the rings to stop, and wakes it. A loop that begins later stops at once.
  package func requestLoopStop() {
    unsafe control?.requestStop()
    for index in 0..<transmitCount + receiveCount {
      unsafe MappedRing(rings + index).waitWord.wake(doorbells.view)
    }
  }

  /// Whether a loop drives the rings, in any process.
  package var hasLoop: Bool { unsafe control.map { unsafe $0.loopOwner != 0 } ?? false }
}

/// The cursors of a ring when its control blocks are filled.
package struct RingStart: Hashable, Sendable {
  package let head: UInt32
  package let cur: UInt32
  package let hwcur: UInt32
  package let hwtail: UInt32
}
