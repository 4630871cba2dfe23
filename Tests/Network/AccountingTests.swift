import Glibc
import Netmap
import NetmapTestSupport
import Synchronization
import Testing

/// Packets at full speed: each one is received, or counted where it is dropped.
@Suite(.serialized) struct AccountingTests {
  /// Sends at full speed for half a second, and waits until the backend has sent everything.
  private static func flood(_ name: String, _ engine: EmbeddedEngine) throws -> RingCounters {
    let port = try NetmapPort(name, engine: engine)
    let clock = ContinuousClock()
    let end = clock.now + .milliseconds(500)
    var left = 20_000
    let frame = SampleFrames.datagram(port: 9000)
    while clock.now < end || left > 0 && clock.now < end + .seconds(10) {
      var ring = port.transmitRing(0)
      var count = 0
      while count < 256, unsafe ring.append(frame.span.bytes) { count += 1 }
      if count == 0 {
        try port.wait(for: .transmit, timeout: .milliseconds(10))
      } else {
        left -= count
        try port.sync(.transmit)
      }
    }
    while port.transmitRing(0).space < port.transmitRing(0).slotCount - 1 {
      guard clock.now < end + .seconds(10) else {
        throw TestFailure("frames are still unsent after 10 seconds")
      }
      try port.sync(.transmit)
    }
    return port.statistics.transmit
  }

  /// Takes packets until the sender has ended and no more arrive. A receiver that rests takes nothing
  /// between the first packets and the sender's end.
  private static func drain(
    _ port: NetmapPort, resting rests: Bool, until isDone: borrowing Atomic<Bool>
  ) throws -> UInt64 {
    var (taken, quiet) = (0, 0)
    while quiet < 3 {
      let wasDone = isDone.load(ordering: .acquiring)
      let ready = try port.wait(for: .receive, timeout: .milliseconds(30))
      quiet = wasDone && ready.isEmpty ? quiet + 1 : 0
      var ring = port.receiveRing(0)
      taken += ring.skip()
      while rests && !isDone.load(ordering: .acquiring) { usleep(1000) }
    }
    return UInt64(taken)
  }

  @Test(
    "at full speed, sent is received plus the drops that ports and interfaces count",
    arguments: ["xdp,mode=copy", "xdp,mode=generic", "packet"], [false, true])
  func sum(choice: String, rests: Bool) throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let pair = try VethPair()
      let backend = "@backend:name=\(choice)"
      let receiver = try NetmapPort("netmap:\(pair.second)\(backend)", engine: engine)
      let isDone = Atomic(false)
      let outcome = Mutex<Result<RingCounters, any Error>?>(nil)
      let thread = try NamespaceThread {
        outcome.withLock {
          $0 = Result { try Self.flood("netmap:\(pair.first)\(backend)", engine) }
        }
        isDone.store(true, ordering: .releasing)
        return true
      }.start()
      let received = try Self.drain(receiver, resting: rests, until: isDone)
      _ = try thread.join()
      let sent = try #require(try outcome.withLock { try $0?.get() })
      let arrived = receiver.statistics.receive
      let lostOnTheWay = try InterfaceCounters(pair.first).transmitDrops
      let lostOnArrival = try InterfaceCounters(pair.second).receiveDrops
      #expect(received > 0)
      #expect(arrived.packets == received)
      // The sender sends more than the ring holds, so a receiver that rests must lose packets.
      #expect(!rests || arrived.drops.total > 0)
      let drops: UInt64
      if choice == "xdp,mode=copy" {
        // A driver that runs the XDP program itself also counts frames that the socket had no room for.
        drops = sent.drops.total + lostOnTheWay + lostOnArrival
        #expect(arrived.drops.total <= lostOnArrival)
      } else {
        // Here the host's queue may be full. Both interfaces then count the same frame.
        drops = sent.drops.total + arrived.drops.total + lostOnTheWay - sent.retries
      }
      #expect(sent.packets == received + drops)
    }
  }
}
