internal import NetmapCore

extension NetmapPort {
  /// The moments at which the receive rings hold packets; see ``readiness(for:)``.
  public var readiness: PortReadiness { readiness(for: .receive) }

  /// The moments at which the port is ready for the given directions.
  ///
  /// - Parameter wanted: The directions to wait for.
  /// - Returns: A sequence that yields the ready directions, and ends when its task is canceled.
  public func readiness(for wanted: Readiness) -> PortReadiness {
    PortReadiness(port: self, wanted: wanted)
  }

  /// Syncs, and suspends the task until a receive ring has packets or a transmit ring has room.
  ///
  /// The same as the synchronous `wait(for:timeout:)`, for tasks: no thread of the cooperative pool sleeps, and the
  /// task can be canceled.
  ///
  /// - Parameters:
  ///   - wanted: The directions to wait for.
  ///   - timeout: The longest time to wait. Nil waits until the task is canceled; zero does not wait.
  /// - Returns: The ready directions; empty when the timeout has passed.
  /// - Throws: `CancellationError` when the task was canceled; ``NetmapError`` as the synchronous method does.
  @discardableResult
  nonisolated(nonsending) public func wait(
    for wanted: Readiness, timeout: Duration? = nil
  ) async throws -> Readiness {
    guard let ready = try await waitUnlessCanceled(wanted, timeout: timeout) else {
      throw CancellationError()
    }
    return ready
  }

  /// Receives until the task is canceled: calls `body` with each receive ring that holds packets.
  ///
  /// ```swift
  /// try await port.forEachBatch { batch in
  ///   while let packet = batch.next() { handle(packet) }
  /// }
  /// ```
  ///
  /// The port syncs before each round, so packets that `body` has queued on transmit rings leave then. Packets that
  /// `body` leaves in the ring are in the next batch, at once.
  ///
  /// - Parameter body: Takes packets from the ring. If it throws, the method ends.
  /// - Throws: `CancellationError` when the task was canceled, what `body` throws, or ``NetmapError`` as
  ///   `wait(for:timeout:)` does. The method ends in no other way.
  nonisolated(nonsending) public func forEachBatch(
    _ body: (inout ReceiveRing) throws -> Void
  ) async throws {
    while true {
      let ready = try await wait(for: .receive)
      // Throws if the interface has gone; a ring that was reset is usable again.
      if ready.contains(.error) { try sync(.receive) }
      for index in 0..<receiveRingCount {
        var ring = receiveRing(index)
        if !ring.isEmpty { try body(&ring) }
      }
    }
  }

  /// The number of consecutive waits without suspension after which the task yields to others.
  private static let waitsBeforeYield = 16

  /// - Returns: The ready directions; nil if the task was canceled.
  func waitUnlessCanceled(
    _ wanted: Readiness, timeout: Duration?, isolation: isolated (any Actor)? = #isolation
  ) async throws(NetmapError) -> Readiness? {
    try checkUsable()
    if Task.isCancelled { return nil }
    let ready = mapped.scan(wanted)
    guard ready.isEmpty, timeout != .zero else {
      immediateWaits += 1
      if immediateWaits % Self.waitsBeforeYield == 0 { await Task.yield() }
      return ready
    }
    return try await TaskWaiter.wait(
      for: mapped, binding.doorbells, wanted, timeout: timeout?.nanosecondsClamped,
      isolation: isolation
    ).get()
  }
}
