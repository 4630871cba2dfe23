internal import CLinux
internal import Glibc
package import NetmapCore

/// The result of one end.
package struct PeerSummary: Hashable, Sendable, CustomStringConvertible {
  package var job: PeerJob
  package var nanoseconds: UInt64 = 0
  package var resets: UInt64 = 0
  package var sleeps: UInt64 = 0
  package var syncs: UInt64 = 0

  package var description: String {
    let seconds = Double(nanoseconds) / 1e9
    let rate = Double(job.packets) / Double(max(nanoseconds, 1)) * 1e3
    let what = job.role == .send ? "sent, all returned" : "received, every number in order"
    return "\(job.role.rawValue): \(job.packets) packets \(what), \(hundredths(seconds)) s, "
      + "\(hundredths(rate)) Mpps, batch \(job.batch), \(job.waiting.rawValue), \(syncs) syncs, "
      + "\(sleeps) sleeps, \(resets) resets"
  }

  private func hundredths(_ value: Double) -> String {
    let whole = Int((value * 100).rounded())
    return "\(whole / 100).\(whole % 100 < 10 ? "0" : "")\(whole % 100)"
  }
}

/// Moves numbered packets at one end of a pipe, on ring 0.
package struct PeerTraffic {
  private let port: MappedPort
  private let sleeper: Sleeper
  private let job: PeerJob
  /// Nanoseconds without progress after which this end fails.
  private let patience: UInt64 = 10_000_000_000

  package init(_ port: MappedPort, _ sleeper: Sleeper, _ job: PeerJob) {
    self.port = port
    self.sleeper = sleeper
    self.job = job
  }

  /// Attaches to an end of a pipe by descriptors, in any process.
  ///
  /// - Throws: ``NetmapError`` when the descriptors do not describe such an end.
  package init(
    region: CInt, segment: CInt, directory: CInt, place: PeerPlace, job: PeerJob
  ) throws(NetmapError) {
    let doorbells = try DoorbellTable()
    let sleeper = Sleeper(doorbells: doorbells)
    let listed = try Directory(
      mapping: SharedMemory(mapping: directory, readOnly: true))
    guard listed.process(of: place.tag) != nil else {
      throw NetmapError(
        .invalidArgument, "attach", "binding \(place.binding)", reason: "not a client of the engine"
      )
    }
    let port = unsafe try MappedPort(
      region: SharedMemory(mapping: region),
      segment: SyncSegment(mapping: SharedMemory(mapping: segment)), binding: place.binding,
      tag: place.tag, doorbells: doorbells)
    self.init(port, sleeper, job)
  }

  /// Sends or receives all packets of the job.
  ///
  /// - Throws: ``NetmapError``: `EIO` when a number was wrong, `EAGAIN` when the other end has
  ///   stopped.
  package func run() throws(NetmapError) -> PeerSummary {
    let start = monotonicNanoseconds()
    switch job.role {
    case .send: try send()
    case .receive: try receive()
    }
    var summary = PeerSummary(job: job)
    summary.nanoseconds = monotonicNanoseconds() - start
    let ring = unsafe job.role == .send ? port.transmit(0) : port.receive(0)
    let counters = unsafe ring.counters
    summary.resets = counters.resets
    summary.syncs = counters.syncs
    summary.sleeps = sleeper.sleeps
    return summary
  }

  private func send() throws(NetmapError) {
    let mapped = unsafe port.transmit(0)
    let ring = unsafe mapped.ring
    var number: UInt64 = 0
    while number < job.packets {
      var head = unsafe ring.head
      let space = unsafe ring.distance(from: head, to: ring.tail)
      if space == 0 {
        try wait(.transmit) { unsafe ring.head != ring.tail }
        continue
      }
      let count = min(min(space, job.batch), UInt32(clamping: job.packets - number))
      for _ in 0..<count {
        let slot = unsafe ring.slot(head)
        unsafe slot.pointee.length = 60
        unsafe ring.buffer(slot.pointee.bufferIndex).storeBytes(of: number, as: UInt64.self)
        number += 1
        head = unsafe ring.next(head)
      }
      unsafe ring.cur = head
      unsafe ring.head = head
      _ = unsafe mapped.synchronizeTransmit([])
    }
    // Wait until the receiver has taken every packet and returned its slot.
    while unsafe ring.next(ring.tail) != ring.head {
      let tail = unsafe ring.tail
      unsafe ring.cur = ring.tail
      try wait(.transmit) { unsafe ring.tail != tail }
    }
  }

  private func receive() throws(NetmapError) {
    let mapped = unsafe port.receive(0)
    let ring = unsafe mapped.ring
    var expected: UInt64 = 0
    while expected < job.packets {
      var head = unsafe ring.head
      let space = unsafe ring.distance(from: head, to: ring.tail)
      if space == 0 {
        try wait(.receive) { unsafe ring.head != ring.tail }
        continue
      }
      let count = min(space, job.batch)
      for _ in 0..<count {
        let slot = unsafe ring.slot(head)
        let number = unsafe ring.buffer(slot.pointee.bufferIndex).load(as: UInt64.self)
        guard number == expected, unsafe slot.pointee.length == 60 else {
          throw NetmapError(
            .inputOutput, "receive", "packet \(expected)", reason: "found packet \(number) instead")
        }
        expected += 1
        head = unsafe ring.next(head)
      }
      unsafe ring.cur = head
      unsafe ring.head = head
      _ = unsafe mapped.synchronizeReceive([])
    }
    if unsafe ring.head != ring.tail {
      throw NetmapError(
        .inputOutput, "receive", "packet \(expected)", reason: "there is one more than were sent")
    }
  }

  private func wait(
    _ direction: Readiness, until done: () -> Bool
  ) throws(NetmapError) {
    if job.waiting == .sleep {
      var items = [Sleeper.Item(port: port, wanted: direction)]
      var others: [pollfd] = []
      let start = monotonicNanoseconds()
      // Progress that only the end of the timeout reveals means a lost wake-up.
      if try sleeper.wait(for: &items, and: &others, timeout: patience) > 0,
        monotonicNanoseconds() - start < patience
      {
        return
      }
    } else {
      let ring = unsafe direction == .transmit ? port.transmit(0) : port.receive(0)
      let deadline = monotonicNanoseconds() + patience
      repeat {
        for _ in 0..<1000 {
          _ = unsafe ring.synchronize([])
          if done() { return }
        }
        sched_yield()
      } while monotonicNanoseconds() < deadline
    }
    throw NetmapError(
      .init(rawValue: 11), "wait", "\(job.role.rawValue) end", reason: "the other end has stopped")
  }
}
