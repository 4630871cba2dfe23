internal import NetmapCore

// CSB mode: the application's cursors lie in control blocks, and a thread drives the rings by them.

extension NetmapPort {
  /// Puts the port into CSB mode (`NETMAP_REQ_CSB_ENABLE`): its cursors lie in control blocks from now on.
  ///
  /// Fills the blocks with the present state of the rings. Afterwards syncs and waits of the port are refused, and the
  /// `head`, `cur` and `tail` of the rings themselves are not used any more; the slots are. There is no way back but
  /// closing the port. Calling this again replaces the blocks. Does not block.
  ///
  /// Each array has an entry of 64 bytes for each ring of the binding: the transmit rings, then the receive rings. They
  /// may lie in memory that other processes, or a guest, can write: the loop checks what it reads.
  ///
  /// - Parameters:
  ///   - requests: The array of `struct nm_csb_atok`, which the application writes, aligned to 64 bytes.
  ///   - answers: The array of `struct nm_csb_ktoa`, which the loop writes, aligned to 64 bytes. Both arrays must stay
  ///     mapped until no loop uses them any more and the port is closed.
  /// - Throws: ``NetmapError`` `EINVAL` for an address that is not aligned, and unless the port was opened with
  ///   ``BindingFlags/exclusive``; `EBUSY` while a loop runs; `EBADF` after ``close()`` and in a fork child.
  public func enableControlBlocks(
    requests: UnsafeMutableRawPointer, answers: UnsafeMutableRawPointer
  ) throws(NetmapError) {
    try checkUsable()
    guard !mapped.hasLoop else {
      throw NetmapError(
        .busy, "enable control blocks", name, reason: "a loop drives its rings",
        remedy: "stop the loop first")
    }
    guard mapped.record.flags.contains(.exclusive) else {
      throw NetmapError(
        .invalidArgument, "enable control blocks", name,
        reason: "other programs may open its rings too",
        remedy: "open it with BindingFlags.exclusive")
    }
    guard let blocks = unsafe ControlBlocks(requests: requests, answers: answers) else {
      throw NetmapError(
        .invalidArgument, "enable control blocks", name,
        reason: "an address is not a multiple of 64")
    }
    unsafe mapped.fill(blocks)
    unsafe controlBlocks = blocks
    mapped.refuseSyncs()
  }

  /// Drives the rings by the control blocks (`NETMAP_REQ_SYNC_KLOOP_START`) until ``SyncLoopStop/stop()``. Blocks.
  ///
  /// The calling thread syncs each ring as its control block asks, and publishes the result there. Cursors that are out of
  /// place reset the ring, and are counted in ``statistics``. Without `kicks` the thread looks at the blocks again and
  /// again. With them it sleeps, asks for kicks by `kern_need_kick`, and wakes up for a kick or for progress of the port.
  ///
  /// Handlers of signals run meanwhile, and do not end the loop. A loop that has been asked to stop before it begins
  /// returns at once.
  ///
  /// - Parameters:
  ///   - kicks: An eventfd(2) for each ring, transmit rings first, by which the application wakes the loop. Empty for a
  ///     loop that looks again and again. The loop uses copies.
  ///   - signals: An eventfd(2) for each ring by which the loop wakes the application when it asks for that
  ///     (`appl_need_kick`); a negative number for none. Empty for none at all.
  ///   - pause: Between two looks of a loop without kicks: 0 to 1 s, in whole microseconds.
  /// - Throws: ``NetmapError`` `EINVAL` before ``enableControlBlocks(requests:answers:)``, for a wrong number of
  ///   descriptors, for a descriptor that is no eventfd, and for another pause; `EBUSY` while a loop runs, in any process;
  ///   `EBADF` for a descriptor that is not open, after ``close()``, and in a fork child; `EMFILE` or `ENFILE`.
  public func runSyncLoop(
    kicks: [CInt] = [], signals: [CInt] = [], pause: Duration = .zero
  ) throws(NetmapError) {
    try checkUsable()
    guard let blocks = unsafe controlBlocks, let tag = mapped.clientTag else {
      throw NetmapError(
        .invalidArgument, "run", "sync loop of \(name)", reason: "the port has no control blocks",
        remedy: "call enableControlBlocks first")
    }
    guard (Duration.zero...Duration.seconds(1)).contains(pause) else {
      throw NetmapError(
        .invalidArgument, "run", "sync loop of \(name)", reason: "the pause is not within 0...1 s")
    }
    guard kicks.isEmpty || kicks.count == transmitCount + receiveCount else {
      throw NetmapError(
        .invalidArgument, "run", "sync loop of \(name)",
        reason:
          "the port has \(transmitCount + receiveCount) rings, and \(kicks.count) eventfds are given"
      )
    }
    var settings = SyncLoop.Settings()
    settings.signals = signals
    settings.isNotified = !kicks.isEmpty
    let events = kicks.isEmpty ? nil : try LoopKicks(kicks)
    let loop = unsafe try SyncLoop(mapped, tag, blocks, settings)
    try loop.run(
      events, pause: UInt32(pause.nanosecondsClamped / 1000),
      Sleeper(doorbells: binding.doorbells))
  }

  /// Why syncs fail in CSB mode.
  @inline(never)
  func controlled() -> NetmapError {
    NetmapError(
      .busy, "sync", name, reason: "control blocks drive its rings (CSB mode)",
      remedy: "change the control blocks, or open the port again")
  }

  /// Stops the loop that drives the port's rings, from any thread.
  public var syncLoopStop: SyncLoopStop { SyncLoopStop(mapped) }
}

/// Stops the sync loop of a port (`NETMAP_REQ_SYNC_KLOOP_STOP`). Keeps the port's memory mapped.
public struct SyncLoopStop: @unchecked Sendable {
  // Only its shared words are used, by atomic steps.
  private let port: MappedPort

  init(_ port: MappedPort) {
    self.port = port
  }

  /// Asks the loop to stop, wherever it runs. Does not wait for its end.
  ///
  /// Without a loop, the next one stops when it begins.
  public func stop() { port.requestLoopStop() }
}
