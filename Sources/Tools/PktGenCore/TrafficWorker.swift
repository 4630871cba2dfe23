internal import Glibc
internal import Netmap
internal import ToolSupport

/// The context of a traffic loop: its port, its configuration, and its counters.
struct Worker {
  let index: Int
  let link: Link
  let configuration: Configuration
  let sourceMAC: String
  let counters: WorkerCounters
  let stop: StopRequest
  let log: ToolLog
  /// Receives packet dumps.
  let output: TextSink

  var port: NetmapPort { link.port }
  var packetLimit: UInt64 { configuration.packetLimit(ofThread: index) }

  var burstPlan: BurstPlan {
    BurstPlan(burst: configuration.burst, rate: configuration.ratePerThread)
  }

  /// A seed for random choices, different for every thread and run.
  var seed: UInt64 { Clock.wall() ^ UInt64(index) << 48 }

  /// Runs the mode to its end, and records a failure in the counters.
  func run() {
    do throws(TrafficFailure) {
      try pin()
      switch configuration.mode {
      case .tx: try Sender(self).run()
      case .rx: try Receiver.run(self)
      case .ping: try Ping(self).run()
      case .pong: try Pong.run(self)
      case .txseq: try SequenceSender(self).run()
      case .rxseq: try SequenceReceiver.run(self)
      }
    } catch {
      log(error.message)
      counters.fail()
    }
  }

  private func pin() throws(TrafficFailure) {
    guard let first = configuration.affinity else { return }
    let cpu = (first + index) % configuration.affinityModulus
    let code = WorkerThread.pin(to: cpu)
    guard code == 0 else {
      throw TrafficFailure(
        "Unable to set affinity: CPU \(cpu): \(unsafe String(cString: strerror(code)))")
    }
  }

  /// Waits for room, or only syncs with `--busy-wait`.
  ///
  /// - Returns: False when a signal ended the wait: the loop should check ``stop`` and try again.
  func waitForRoom() throws(TrafficFailure) -> Bool {
    counters.awaited = .room
    if configuration.busyWaits {
      try link.sync(.transmit)
      return true
    }
    switch try link.wait(for: .transmit, timeout: .seconds(2)) {
    case .ready(let ready):
      if ready.contains(.error) { throw failure(.transmit, port.transmitRingCount) }
      return true
    case .timeout:
      log("poll error on queue \(index): timeout", function: "sender_body")
      return true
    case .interrupted: return false
    }
  }

  /// Waits for packets, or only syncs with `--busy-wait`.
  ///
  /// - Returns: Whether there are packets; nil when a signal ended the wait.
  func waitForPackets(_ timeout: Duration) throws(TrafficFailure) -> Bool? {
    if configuration.busyWaits {
      try link.sync(.receive)
      return (0..<port.receiveRingCount).contains { !port.receiveRing($0).isEmpty }
    }
    switch try link.wait(for: .receive, timeout: timeout) {
    case .ready(let ready):
      if ready.contains(.error) { throw failure(.receive, port.receiveRingCount) }
      return true
    case .timeout: return false
    case .interrupted: return nil
    }
  }

  /// The reason for an error from a wait: a sync fails for the same reason, unless the error was a
  /// reset.
  private func failure(_ direction: Direction, _ count: Int) -> TrafficFailure {
    do throws(TrafficFailure) {
      try link.sync(direction)
    } catch {
      return error
    }
    return TrafficFailure(
      "poll error on \(port.name) ring 0-\(count - 1): indexes were out of range; netmap reset the ring"
    )
  }

  /// Sends queued packets, and waits until no packet is pending on any ring or a stop is requested.
  func flush() throws(TrafficFailure) {
    var limit = RateLimit(5)
    counters.awaited = .departure
    try link.sync(.transmit)
    for index in 0..<port.transmitRingCount {
      let ring = unsafe port.transmitRing(index).unsafeRing
      if index == port.transmitRingCount - 1 {
        unsafe log(
          "flush tail \(ring.tail) head \(ring.head) on thread \(WorkerThread.currentText)",
          function: "sender_body")
      }
      var pause: UInt64 = 1000
      while unsafe !stop.isRequested && ring.next(ring.tail) != ring.head {
        if limit.allows() {
          unsafe log(
            "pending tx tail \(ring.tail) head \(ring.head) on ring \(index)",
            function: "sender_body")
        }
        Clock.sleep(nanoseconds: pause)
        pause = min(pause * 2, 1_000_000)
        try link.sync(.transmit)
      }
    }
  }
}

/// The reason why a traffic loop ended early.
struct TrafficFailure: Error {
  let message: String

  init(_ message: String) {
    self.message = message
  }

  init(_ error: NetmapError) {
    message = "\(error)"
  }
}
