import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// A process that runs out of descriptors or memory gets an error, and other processes are not affected.
@Suite("Exhaustion", .timeLimit(.minutes(faultMinutes)))
struct ExhaustionFaults {
  @Test(
    "a daemon without descriptors or memory refuses requests; freed resources can be used again",
    arguments: [
      // The broker itself uses fifteen descriptors. A client costs four (mailbox, doorbell, pidfd, and the page
      // that marks its life), and a pipe's port with its own memory five. Clients that have left cost nothing
      // when others ask.
      ("--nofile=48:48", ["EMFILE", "ENFILE"]), ("--as=1800000000:1800000000", ["ENOMEM"]),
    ])
  func daemon(_ row: (limit: String, names: [String])) throws {
    let fixture = try DaemonFixture(wrapper: ["prlimit", row.limit])
    var bystander = try Bystander(fixture)
    var fewest = Int.max
    for round in 0..<faultRounds {
      let engine = try fixture.engine()
      let patience = ContinuousClock.now + .seconds(20)
      var held: [NetmapPort] = []
      var refusal: NetmapError?
      while refusal == nil, held.count < 500 {
        do throws(NetmapError) {
          held.append(
            try fixture.besideOthers { () throws(NetmapError) in
              try NetmapPort("netmap:e\(held.count){1", engine: engine)
            })
        } catch {
          // netmapd lets a request wait 200 ms for descriptors that its threads are closing. On a busy machine that
          // can be too short.
          guard held.count >= 2 || ContinuousClock.now > patience else {
            usleep(10_000)
            continue
          }
          refusal = error
        }
      }
      let name = refusal?.code.name ?? ""
      #expect(row.names.contains(name), "round \(round): \(String(describing: refusal))")
      #expect(refusal?.remedy.isEmpty == false)
      fewest = min(fewest, held.count)
      try bystander.pass(2, "round \(round)")
      held = []
      try fixture.expectOpen(2, "round \(round)")
    }
    // There is room for three ports in addition to the two clients and the bystander's pipe. A leak would
    // reduce that.
    #expect(fewest >= 2, "only \(fewest) ports")
  }

  @Test("pipes that use up their port's memory affect no other port")
  func region() throws {
    let fixture = try DaemonFixture()
    var bystander = try Bystander(fixture)
    let engine = try fixture.engine()
    for round in 0..<faultRounds {
      // The size of the first pipe determines the memory for all pipes on this name.
      var held = [try NetmapPort("netmap:m{0@conf:slots=\(16 + round % 8)", engine: engine)]
      var refusal: NetmapError?
      while refusal == nil, held.count < 20 {
        do throws(NetmapError) {
          held.append(
            try NetmapPort(
              "netmap:m{\(held.count)@conf:slots=1024", extraBuffers: round % 2 * 900,
              engine: engine))
        } catch {
          refusal = error
        }
      }
      let name = refusal?.code.name ?? ""
      #expect(name == "ENOMEM", "\(String(describing: refusal))")
      try fixture.expectSound("round \(round), all open")
      try bystander.pass(1, "round \(round)")
      held = []
      try fixture.expectOpen(2, "round \(round), all closed")
    }
  }

  @Test("a client without descriptors or memory gets an error, and leaves nothing behind")
  func client() throws {
    var (seed, generator) = seededGenerator("client")
    let fixture = try DaemonFixture()
    var bystander = try Bystander(fixture)
    var (worked, failed) = (0, 0)
    for round in 0..<faultRounds {
      let limit: String
      if round % 2 == 0 {
        let files = Int.random(in: 3...12, using: &generator)
        limit = "--nofile=\(files):\(files)"
      } else {
        // Enough for the program, and by chance more or less than a region needs.
        let bytes = Int.random(in: 200_000_000...700_000_000, using: &generator)
        limit = "--as=\(bytes):\(bytes)"
      }
      let program = try TestProgram(
        ["prlimit", limit] + fixture.command(["send", "netmap:c{1", "1", "10"]))
      let outcome = program.end()
      let context = "seed \(seed), round \(round), \(limit): \(outcome)"
      #expect(outcome.status >= 0, "\(context)")
      if outcome.status == 0 {
        #expect(outcome.output == "ready\nsent 10\n", "\(context)")
        worked += 1
      } else {
        #expect(!outcome.output.isEmpty, "\(context)")
        failed += 1
      }
      try fixture.expectOpen(2, context)
      try bystander.pass(1, context)
    }
    #expect(worked > 0 && failed > 0, "\(worked) worked, \(failed) failed")
  }

  @Test(
    "a process that had no descriptor when a port came to its switch reaches the port once it has descriptors"
  )
  func laterDescriptors() async {
    // In a process of its own, because the limit is one of the process.
    await #expect(processExitsWith: .success) {
      let fixture = try DaemonFixture()
      let sender = try NetmapPort("vale0:a", engine: fixture.engine())
      // The sender reads its mail only at a sync.
      let receiver = try NetmapPort("vale0:b", engine: fixture.engine())
      var before = rlimit()
      unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before)
      let next = dup(2)
      close(next)
      var none = before
      none.rlim_cur = rlim_t(next)
      try #require(unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &none) == 0)
      func send() throws {
        try sender.inject([UInt8](repeating: 0xff, count: 12) + [UInt8](repeating: 1, count: 48))
        try sender.sync(.transmit)
        try receiver.sync(.receive)
      }
      let end = ContinuousClock.now + .seconds(60)
      while receiver.statistics.receive.drops[.unknownRegion] < 4, ContinuousClock.now < end {
        try send()
        // It asks again, and loses the answers.
        usleep(30_000)
      }
      #expect(receiver.statistics.receive.drops[.unknownRegion] >= 4)
      #expect(receiver.statistics.receive.packets == 0)
      try #require(unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before) == 0)
      while receiver.statistics.receive.packets == 0, ContinuousClock.now < end {
        try send()
        usleep(1000)
      }
      #expect(receiver.statistics.receive.packets > 0, "\(receiver.statistics)")
      let found = receiver.statistics.receive.drops[.unknownRegion]
      try send()
      #expect(receiver.statistics.receive.drops[.unknownRegion] == found)
    }
  }
}
