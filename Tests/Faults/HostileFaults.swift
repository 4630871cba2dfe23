import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Whatever a process sends or writes, the daemon survives, and other processes are not affected.
@Suite("Hostile processes", .timeLimit(.minutes(faultMinutes)))
struct HostileFaults {
  @Test("a process that writes rubbish over its rings and its segment harms itself only")
  func scribbler() throws {
    var (seed, generator) = seededGenerator("scribbler")
    let fixture = try DaemonFixture()
    var bystander = try Bystander(fixture)
    for round in 0..<faultRounds {
      try scribble(fixture, round, &generator)
      try bystander.pass(3, "seed \(seed), round \(round)")
      try fixture.expectOpen(2, "seed \(seed), round \(round)")
    }
  }

  private func scribble(
    _ fixture: DaemonFixture, _ round: Int, _ generator: inout SeededGenerator
  ) throws {
    let connection = try DaemonConnection(address: try DaemonAddress(path: fixture.socket))
    let open = try ["s\(round % 3){1", "s\(round % 3)}1"].map { name in
      try connection.register(RegisterRequest(name: PortName(name), extraBuffers: 8))
    }
    for registration in open.map(\.registration) {
      let segment = registration.segment.memory
      for _ in 0..<1000 {
        let place = Int.random(in: 0..<segment.byteCount / 8, using: &generator) * 8
        segment.store(generator.next(), at: place)
      }
      // The netmap_if objects, and the rings after them.
      for _ in 0..<1000 {
        let place = Int.random(in: 0..<(1 << 20) / 8, using: &generator) * 8
        registration.region.store(generator.next(), at: place)
      }
    }
    // The check reports the damage.
    let check = try connection.check()
    #expect(!check.report.findings.isEmpty)
    _ = try connection.listing()
    // Other processes open the damaged ports: they get an error or an unusable port, but must not
    // crash.
    let other = try fixture.engine()
    _ = try? NetmapPort("netmap:s\(round % 3){1", engine: other)
    for token in open.map(\.token) where generator.chance(50) { token.close() }
  }

  @Test("floods of malformed messages, wrong sizes, and hundreds of descriptors leak nothing")
  func flood() throws {
    var (seed, generator) = seededGenerator("flood")
    let fixture = try DaemonFixture()
    let address = try DaemonAddress(path: fixture.socket)
    var bystander = try Bystander(fixture)
    let descriptors = try fixture.daemonDescriptors()
    let kinds: [Message.Kind] = [
      .hello, .forget, .register, .portInfo, .poolsInfo, .list, .check, .dump, .mapPort, .done,
      .doorbell,
    ]
    for round in 0..<max(500, faultRounds) {
      let socket = try #require(try address.connect(), "round \(round)")
      // Half of the connections become clients first.
      if generator.chance(50) {
        try socket.send(Message.bytes(.hello))
        if generator.chance(80) { _ = try socket.receive(within: 20) }
      }
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        var bytes = Message.bytes(kinds.randomElement(using: &generator) ?? .hello) { writer in
          for _ in 0..<Int.random(in: 0..<25, using: &generator) { writer.put(generator.next()) }
        }
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: bytes = Array(bytes.prefix(Int.random(in: 1...bytes.count, using: &generator)))
        case 1: bytes += [UInt8](repeating: 7, count: .random(in: 1...60_000, using: &generator))
        default: break
        }
        let count =
          generator.chance(20)
          ? Int.random(in: 9...253, using: &generator)
          : Int.random(in: 0...8, using: &generator)
        sendFiles(count, with: bytes, on: socket)
      }
      if round % 25 == 0 {
        try bystander.pass(1, "seed \(seed), round \(round)")
        try fixture.expectSound("seed \(seed), round \(round)")
      }
    }
    try bystander.pass(3, "seed \(seed)")
    try fixture.expectOpen(2, "seed \(seed)")
    try fixture.expectDescriptors(descriptors, "seed \(seed)")
  }

  /// Sends one datagram with more descriptors than the package itself ever sends; ignores errors.
  private func sendFiles(_ count: Int, with bytes: [UInt8], on socket: MessageSocket) {
    // struct cmsghdr: its length, SOL_SOCKET, SCM_RIGHTS; then the descriptors.
    var control = [Int32](repeating: 0, count: 4 + (count + 1) & ~1)
    control[0] = Int32(16 + 4 * count)
    (control[2], control[3]) = (1, 1)
    var bytes = bytes
    unsafe bytes.withUnsafeMutableBytes { bytes in
      unsafe control.withUnsafeMutableBytes { control in
        var part = unsafe iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
        unsafe withUnsafeMutablePointer(to: &part) { part in
          var message = unsafe msghdr()
          unsafe message.msg_iov = part
          unsafe message.msg_iovlen = 1
          if count > 0 {
            unsafe message.msg_control = control.baseAddress
            unsafe message.msg_controllen = control.count
          }
          _ = unsafe sendmsg(
            socket.descriptor, &message, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
        }
      }
    }
  }

  @Test("requests with senseless numbers are refused or bounded, and leave nothing behind")
  func senseless() throws {
    var (seed, generator) = seededGenerator("senseless")
    let fixture = try DaemonFixture()
    var bystander = try Bystander(fixture)
    let names = ["a{1", "a}1", "b{2", "c{x", "a{1{2", "v", "nosuch0", "vale0:x", "b}2"]
    for round in 0..<faultRounds {
      let connection = try DaemonConnection(address: try DaemonAddress(path: fixture.socket))
      var tokens: [Token] = []
      for _ in 0..<4 {
        var request = RegisterRequest(
          name: try PortName(names.randomElement(using: &generator) ?? "a{1"))
        if let selection = try? RingSelection(
          rawMode: .random(in: 0...9, using: &generator),
          ringID: .random(in: 0...300, using: &generator)), generator.chance(50)
        {
          request.selection = selection
        }
        if generator.chance(30) { request.flags = BindingFlags(rawValue: generator.next()) }
        if generator.chance(30) {
          request.extensions = PortExtensions(
            rawValue: UInt32(truncatingIfNeeded: generator.next()) & 0xf)
        }
        if generator.chance(30) { request.memoryID = .random(in: 0...9, using: &generator) }
        if generator.chance(50) {
          request.hints = RingGeometryHints(
            transmitSlots: .random(in: 0...9000, using: &generator),
            receiveSlots: .random(in: 0...9000, using: &generator),
            transmitRings: .random(in: 0...5, using: &generator),
            receiveRings: .random(in: 0...5, using: &generator))
        }
        request.extraBuffers = .random(in: -5...5000, using: &generator)
        if generator.chance(20) {
          request.offsets = OffsetsOption(
            max: generator.next() >> UInt64.random(in: 0..<64, using: &generator),
            initial: .random(in: 0...4096, using: &generator),
            bits: .random(in: 0...70, using: &generator))
        }
        if let open = try? connection.register(request) { tokens.append(open.token) }
      }
      connection.forget(BindingID(number: .random(in: 0...2000, using: &generator)))
      try fixture.expectSound("seed \(seed), round \(round)")
      for token in tokens { token.close() }
      try bystander.pass(1, "seed \(seed), round \(round)")
    }
    try fixture.expectOpen(2, "seed \(seed)")
  }
}
