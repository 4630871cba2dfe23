package import Netmap
internal import Synchronization
package import ToolSupport

/// One run of pkt-gen: opens the port, starts the threads, reports, and sums up.
package final class Session {
  /// The environment of a session, which tests replace.
  package struct Surroundings: Sendable {
    package var output: TextSink
    package var log: ToolLog
    /// The engine to open ports on; nil for the choice of ``ToolEngine``.
    package var engine: (any PortEngine)?
    /// Whether `SIGINT` and `SIGTERM` request a stop.
    package var handlesSignals: Bool

    package init(
      output: TextSink = .standardOutput, log: ToolLog = ToolLog(),
      engine: (any PortEngine)? = nil, handlesSignals: Bool = false
    ) {
      self.output = output
      self.log = log
      self.engine = engine
      self.handlesSignals = handlesSignals
    }
  }

  private var configuration: Configuration
  private let surroundings: Surroundings
  private let stop: StopRequest
  private var crew: [Member] = []

  private struct Member {
    let thread: WorkerThread
    let counters: WorkerCounters
  }

  private var log: ToolLog { surroundings.log }
  private var output: TextSink { surroundings.output }

  /// - Parameters:
  ///   - configuration: The configuration of the run.
  ///   - surroundings: The streams and the engine to use.
  ///   - stop: Ends the run early.
  package init(
    _ configuration: Configuration, _ surroundings: Surroundings,
    stop: StopRequest = StopRequest()
  ) {
    self.configuration = configuration
    self.surroundings = surroundings
    self.stop = stop
  }

  /// Runs to the end, and prints reports and results.
  ///
  /// - Returns: The exit status: 0, or 1 when a thread failed.
  /// - Throws: ``Refusal`` when the run cannot begin.
  package func run() throws(Refusal) -> CInt {
    // Opening a port may start a daemon, which takes a while: a stop during that time must have its last lines.
    if surroundings.handlesSignals { StopSignals.install(waking: stop) }
    var opening = try Opening(configuration, engine: surroundings.engine, log: log)
    let first = try opening.open()
    configuration = opening.configuration
    announce(opening, first.port)
    var links = [first]
    for index in 1..<max(configuration.threads, 1) {
      do throws(Refusal) {
        links.append(try opening.bind(thread: index))
      } catch {
        throw Refusal(error.message, status: Refusal.threadStatus)
      }
    }
    let statistics = links.map(\.port.statistics)
    try start(links, opening)
    report()
    return finish(links, since: statistics)
  }
}

// MARK: - Begin

extension Session {
  /// Prints the messages before the first packet.
  private func announce(_ opening: Opening, _ port: NetmapPort) {
    if configuration.verbosity > 0 { listRings(port) }
    let role = configuration.mode.role
    output.line(
      "\(role.verb) \(configuration.interface.text): \(opening.queueCount) queues, "
        + "\(configuration.threads) threads and \(configuration.cpus) cpus.")
    if role == .sender {
      output.line(
        "\(configuration.sourceText) -> \(configuration.destinationText) "
          + "(\(opening.sourceMAC) -> \(configuration.destinationMACText))")
    }
    if configuration.options != [] {
      let words = configuration.options.summary.map { " " + $0 }.joined()
      log("--- SPECIAL OPTIONS:\(words)", function: "main")
    }
    if role == .sender {
      let plan = BurstPlan(burst: configuration.burst, rate: configuration.ratePerThread)
      log(plan.text, function: "main")
    }
    if role == .other && configuration.family == .ipv6 {
      log(
        "Warning: ping-pong with IPv6 not supported", function: "\(configuration.mode)_body")
    }
  }

  private func listRings(_ port: NetmapPort) {
    let geometry = port.geometry
    let layout = unsafe port.unsafeABI
    log(
      "nifp at offset \(unsafe layout.interfaceOffset) ntxqs \(geometry.transmitRings) "
        + "nrxqs \(geometry.receiveRings) memid \(port.memoryID)", function: "main")
    for index in 0..<port.transmitRingCount {
      let offset = unsafe layout.ringOffset(.transmit, index)
      let slots = port.transmitRing(index).slotCount
      log("   TX\(index) at offset \(offset) slots \(slots)", function: "main")
    }
    for index in 0..<port.receiveRingCount {
      let offset = unsafe layout.ringOffset(.receive, index)
      let slots = port.receiveRing(index).slotCount
      log("   RX\(index) at offset \(offset) slots \(slots)", function: "main")
    }
  }

  private func start(_ links: [Link], _ opening: Opening) throws(Refusal) {
    let wait = opening.linkWait
    log("Wait \(wait) secs for phy reset", function: "start_threads")
    let deadline = Clock.monotonic() + UInt64(wait) * 1_000_000_000
    noticeSignals()
    while !stop.isRequested, case let now = Clock.monotonic(), now < deadline {
      stop.wait(nanoseconds: deadline - now)
      noticeSignals()
    }
    log("Ready...", function: "start_threads")
    for (index, link) in links.enumerated() {
      let counters = WorkerCounters()
      let worker = Worker(
        index: index, link: link, configuration: configuration, sourceMAC: opening.sourceMAC,
        counters: counters, stop: stop, log: log, output: output)
      // Only this thread uses the port until it has been joined.
      nonisolated(unsafe) let handed = worker
      let stop = stop
      guard
        let thread = WorkerThread({
          unsafe handed.run()
          stop.wake()
        })
      else {
        stop.request()
        for member in crew { end(member) }
        throw Refusal("Unable to create thread \(index)", status: Refusal.threadStatus)
      }
      crew.append(Member(thread: thread, counters: counters))
    }
  }
}

// MARK: - Reports and end

extension Session {
  /// Prints a report at every interval, until all threads have ended.
  private func report() {
    var stall = StallWatch(configuration.interface)
    var line = RateReport(
      scaling: configuration.scaling, framingBits: configuration.framingBits,
      showsStatistics: configuration.options.contains(.rateStatistics))
    // Reports at shorter intervals are meaningless.
    let shortest: UInt64 = 10_000_000
    var last = Clock.monotonic()
    var before = Tally()
    var hasReported = false
    while true {
      let isOver = waitForReport(
        last + max(configuration.reportInterval, shortest), stall: &stall)
      var now = Clock.monotonic()
      // A run that is shorter than the interval still gets one report.
      if isOver, !hasReported, now - last < shortest {
        Clock.sleep(nanoseconds: shortest - (now - last))
        now = Clock.monotonic()
      }
      if now - last >= shortest {
        let tally = tally
        var space: UInt64 = 0
        for member in crew { space += member.counters.takeSmallestSpace() }
        let message = line.message(
          tally - before, microseconds: (now - last) / 1000, space: space)
        log(message, function: "main_thread")
        (last, before, hasReported) = (now, tally, true)
      }
      if isOver { return }
    }
  }

  /// What all threads have moved so far.
  private var tally: Tally {
    var tally = Tally()
    for member in crew { tally += member.counters.tally }
    return tally
  }

  /// Sleeps until the deadline or the end of all threads, and logs what a run without progress waits for.
  ///
  /// - Returns: Whether all threads have ended.
  private func waitForReport(_ deadline: UInt64, stall: inout StallWatch) -> Bool {
    while true {
      noticeSignals()
      if crew.allSatisfy(\.counters.hasEnded) { return true }
      let now = Clock.monotonic()
      if now >= deadline { return false }
      var rest = deadline - now
      if !stall.isOver && !stop.isRequested {
        let running = crew.map(\.counters).filter { !$0.hasEnded }
        let message = stall.message(running.map(\.awaited), packets: tally.packets, at: now)
        if let message { log(message) }
        rest = min(rest, StallWatch.interval)
      }
      if stop.isRequested {
        // Some threads may have been about to sleep when the stop was requested.
        for member in crew where !member.counters.hasEnded { member.thread.interrupt() }
        rest = min(rest, 5_000_000)
      }
      stop.wait(nanoseconds: rest)
    }
  }

  private func noticeSignals() {
    guard surroundings.handlesSignals, let signal = StopSignals.take() else { return }
    log(
      "received \(StopSignals.name(signal)) on thread \(WorkerThread.currentText)",
      function: "sigint_h")
    stop.request()
  }

  private func end(_ member: Member) {
    while !member.counters.hasEnded {
      member.thread.interrupt()
      Clock.sleep(nanoseconds: 1_000_000)
    }
    member.thread.join()
  }

  /// Prints the final lines.
  ///
  /// - Parameters:
  ///   - links: The ports of the threads.
  ///   - before: Their statistics at the start.
  /// - Returns: The exit status.
  private func finish(_ links: [Link], since before: [PortStatistics]) -> CInt {
    var tally = Tally()
    var start = UInt64.max
    var end: UInt64 = 0
    var failures = 0
    for (index, member) in crew.enumerated() {
      member.thread.join()
      let counters = member.counters
      if counters.hasFailed {
        failures += 1
        log("ouch, thread \(index) exited with error", function: "main_thread")
      }
      tally += counters.tally
      if counters.start > 0 { start = min(start, counters.start) }
      end = max(end, counters.end)
    }
    let seconds = end > start ? Double(end - start) / 1e9 : 0
    let final = FinalReport(tally, seconds: seconds, framingBits: configuration.framingBits)
    let lines =
      switch configuration.mode.role {
      case .sender: final.lines("Sent", configuration.scaling)
      case .receiver: final.lines("Received", configuration.scaling)
      case .other: [String]()
      }
    let drops = DropTotals(links.map(\.port.statistics), since: before)
    if let remark = drops.remark(for: configuration.mode.role) {
      log(remark, function: "main_thread")
    }
    for text in lines { output.line(text) }
    if configuration.printsJSON {
      let object = FinalObject(
        configuration, final, drops: drops,
        findings: crew.map { $0.counters.findings.withLock { $0 } }, failedThreads: failures)
      output.line(object.json.text)
    }
    return failures == 0 ? 0 : Refusal.threadStatus
  }
}
