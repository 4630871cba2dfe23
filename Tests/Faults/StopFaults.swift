import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// A stopped process delays only its peer, and no packet is lost when it continues.
@Suite("Stopped processes", .timeLimit(.minutes(faultMinutes)))
struct StopFaults {
  enum Who: String, CaseIterable { case sender, receiver, daemon }

  @Test("SIGSTOP and SIGCONT of a sleeping process: it goes on sleeping, and wakes for a packet")
  func asleep() throws {
    var (seed, generator) = seededGenerator("asleep")
    let fixture = try DaemonFixture()
    let receiver = try fixture.peer(["receive", "netmap:p{1", "\(faultRounds)"])
    let port = try NetmapPort("netmap:p}1", engine: try fixture.engine())
    for round in 0..<faultRounds {
      let context = "seed \(seed), round \(round)"
      // If the stop ended the receiver's wait, the receiver would print an error.
      receiver.send(SIGSTOP)
      usleep(.random(in: 0..<300, using: &generator))
      let isStopped = Bool.random(using: &generator)
      if !isStopped {
        receiver.send(SIGCONT)
        usleep(.random(in: 0..<300, using: &generator))
      }
      var ring = port.transmitRing(0)
      #expect(
        ring.append(length: 60) { packet in
          // The content that host-peer expects from sender 0.
          let number = UInt64(round)
          packet.storeBytes(of: 0, toByteOffset: 0, as: UInt64.self)
          packet.storeBytes(of: number, toByteOffset: 8, as: UInt64.self)
          packet.storeBytes(
            of: number &* 0xbf58_476d_1ce4_e5b9, toByteOffset: 52, as: UInt64.self)
        }, "\(context): no room")
      try port.sync(.transmit)
      if isStopped { receiver.send(SIGCONT) }
      try #require(
        try port.wait(for: .transmit, timeout: .seconds(20)) == .transmit, "\(context)")
    }
    let said = rest(of: receiver)
    #expect(said.hasPrefix("received \(faultRounds) of "), "seed \(seed): \(said)")
    receiver.wait()
    try fixture.expectSound("seed \(seed)")
  }

  @Test("SIGSTOP and SIGCONT at full speed", arguments: Who.allCases)
  func stopped(_ who: Who) throws {
    var (seed, generator) = seededGenerator("stopped \(who)")
    let fixture = try DaemonFixture()
    let file = try ReceiverFile(fixture)
    let receiver = try fixture.peer(["receive", "netmap:p{1", "0", file.path])
    let sender = try fixture.peer(["send", "netmap:p}1", "1", "0"])
    var bystander = try Bystander(fixture)
    let target =
      switch who {
      case .sender: sender
      case .receiver: receiver
      case .daemon: try #require(fixture.daemon)
      }
    for round in 0..<faultRounds {
      let context = "seed \(seed), round \(round)"
      target.send(SIGSTOP)
      try bystander.pass(2, context)
      if who != .daemon {
        // Other processes open, use and close ports in the meantime.
        var other = try Bystander(fixture, "other")
        try other.pass(1, context)
      }
      usleep(.random(in: 0..<500, using: &generator))
      target.send(SIGCONT)
      usleep(.random(in: 0..<1_000, using: &generator))
      try fixture.expectSound(context)
    }
    sender.kill(SIGKILL)
    try fixture.expectDrained("p}1", "seed \(seed)")
    // The receiver has checked the number of each packet. It records a number before it returns the
    // slot.
    let listing = try fixture.engine().listing().first { $0.name == "p{1" }
    let counted = try #require(listing).receive.packets
    let seen = file.progress.seen
    // A sender that dies between handing over packets and counting them leaves one batch uncounted.
    #expect(seen >= counted && seen <= counted + 64, "seed \(seed): \(seen) seen, \(counted) sent")
    #expect(seen > 0)
    receiver.send(SIGKILL)
    let said = rest(of: receiver)
    #expect(said.isEmpty, "seed \(seed): \(said)")
    receiver.wait()
    try fixture.expectSound("seed \(seed), at the end")
  }
}
