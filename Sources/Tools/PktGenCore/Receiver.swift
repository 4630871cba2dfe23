internal import Netmap
internal import ToolSupport

/// `-f rx`: counts received packets.
enum Receiver {
  /// Receives until the count is reached, traffic has ended (`-W`), or a stop is requested.
  static func run(_ worker: Worker) throws(TrafficFailure) {
    let configuration = worker.configuration
    let (port, counters, stop) = (worker.port, worker.counters, worker.stop)
    let limit = worker.packetLimit
    try waitForFirst(worker)
    counters.begin()
    var tally = Tally()
    var silence = Silence(worker)
    loop: while !stop.isRequested && (limit == 0 || tally.packets < limit) {
      guard let hasPackets = try worker.waitForPackets(.seconds(1)) else { continue }
      if let end = silence.end(hasPackets: hasPackets) {
        counters.publish(tally)
        counters.complete(at: end)
        return
      }
      var space: UInt64 = 0
      for index in 0..<port.receiveRingCount {
        let view = port.receiveRing(index)
        let ring = unsafe view.unsafeRing
        space &+= UInt64(view.slotCount - view.count)
        if view.isEmpty { continue }
        let first = unsafe ring.head
        let drained = unsafe drain(ring, from: first, min(view.count, configuration.burst))
        if configuration.options.contains(.dump) {
          unsafe PacketDump.print(ring, from: first, upTo: drained.head, index, worker.output)
        }
        unsafe ring.cur = drained.head
        unsafe ring.head = drained.head
        tally.packets &+= drained.packets
        tally.bytes &+= drained.bytes
        if drained.packets > 0 { tally.events &+= 1 }
      }
      counters.note(space: space)
      counters.publish(tally)
    }
    // This sync returns the last slots to the sender.
    try worker.link.sync(.receive)
    counters.complete()
  }

  private struct Drained {
    let head: UInt32
    let packets: UInt64
    let bytes: UInt64
  }

  /// Counts complete packets and all bytes in `count` slots.
  @inline(never)
  private static func drain(_ ring: Ring, from first: UInt32, _ count: Int) -> Drained {
    var head = first
    var packets: UInt64 = 0
    var bytes: UInt64 = 0
    for _ in 0..<count {
      let slot = unsafe ring.slot(head).pointee
      bytes &+= UInt64(slot.length)
      packets &+= slot.flags.contains(.moreFragments) ? 0 : 1
      head = unsafe ring.next(head)
    }
    return Drained(head: head, packets: packets, bytes: bytes)
  }

  /// Waits for the first packet, without a time limit.
  static func waitForFirst(_ worker: Worker) throws(TrafficFailure) {
    worker.log(
      "reading from \(worker.configuration.interface.text) fd -1 main_fd -1",
      function: "receiver_body")
    var limit = RateLimit(1)
    worker.counters.awaited = .packets
    defer { worker.counters.awaited = .nothing }
    while !worker.stop.isRequested {
      guard let hasPackets = try worker.waitForPackets(.seconds(1)) else { continue }
      if hasPackets { return }
      if limit.allows() {
        worker.log(
          "waiting for initial packets, poll returns 0 0", function: "receiver_body")
      }
    }
  }
}

/// Detects a second without packets, for `-W`.
struct Silence {
  private let isWatched: Bool
  private let second: UInt64 = 1_000_000_000
  private var last = Clock.monotonic()

  init(_ worker: Worker) {
    isWatched = worker.configuration.exitsWhenIdle
  }

  /// - Returns: The start of the silence, once the silence has lasted a second.
  mutating func end(hasPackets: Bool) -> UInt64? {
    guard isWatched else { return nil }
    let now = Clock.monotonic()
    if hasPackets { last = now }
    return now - last >= second ? last : nil
  }
}
