internal import Foundation

/// testpmd with its shared-memory interface, memif: the peer of pipes and switches.
///
/// In `testpmd-peer memif pipe`, one testpmd sends to another one. In `testpmd-peer memif forward`, one testpmd
/// forwards packets between two of its ports. The program prints `ready` and a description. Each line of input
/// is a number of seconds: the program measures for that time and answers with millions of packets per second.
/// Between measurements it is idle. It exits at the end of its input.
struct Memif {
  enum Shape: String {
    case pipe, forward
  }

  private let shape: Shape
  private var programs: [Testpmd] = []
  private let folder: String

  /// Packets per burst in the shape `pipe`.
  ///
  /// Packets have 60 bytes, and the sender writes the headers of each (42 bytes). `rxonly` frees received
  /// packets without reading them, which is less work than netmap's receiver does. However, memif's
  /// receiving end has copied them before. (`icmpecho` would read the headers, but does not work with bursts
  /// of 256 over memif.)
  private static let burst = 256

  var description: String {
    switch shape {
    case .pipe:
      "two dpdk-testpmd, memif client (txonly) to server (rxonly: payload not read), zero-copy, 60 bytes,"
        + " burst \(Self.burst) on both sides"
    case .forward:
      "one dpdk-testpmd, io forwarding between two memif ports that are connected to each other, a core"
        + " for each direction, zero-copy, 60 bytes, burst 32; packets a second in one direction"
    }
  }

  init(_ shape: Shape, _ path: String) throws {
    self.shape = shape
    folder = NSTemporaryDirectory() + "testpmd-peer-\(getpid())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    do {
      switch shape {
      case .pipe:
        // The server first: a client without a server gives up.
        programs.append(
          try start(
            path, "server", cores: "0@0,1@1", devices: ["server"], mode: "rxonly", Self.burst))
        programs.append(
          try start(
            path, "client", cores: "0@1,1@0", devices: ["client"], mode: "txonly", Self.burst))
      case .forward:
        programs.append(
          try start(
            path, "both", cores: "0@0,1@0,2@1", devices: ["server", "client"], mode: "io", 32))
      }
    } catch {
      end()
      throw error
    }
  }

  private func start(
    _ path: String, _ name: String, cores: String, devices roles: [String], mode: String,
    _ burst: Int
  ) throws -> Testpmd {
    let devices = roles.enumerated().flatMap { number, role in
      [
        "--vdev",
        "net_memif\(number),role=\(role),id=0,socket=\(folder)/memif.sock,socket-abstract=no,"
          + "rsize=10,bsize=2048" + (role == "client" ? ",zero-copy=yes" : ""),
      ]
    }
    let testpmd = try Testpmd(
      path,
      [
        "--no-huge", "-m", "512", "--no-pci", "--no-telemetry", "--no-shconf",
        "--single-file-segments", "--file-prefix=netmap-\(getpid())-\(name)", "--lcores", cores,
        "--main-lcore", "0",
      ] + devices + [
        "--", "-i", "--nb-cores=\(roles.count)", "--total-num-mbufs=16384",
        "--forward-mode=\(mode)", "--txpkts=60", "--burst=\(burst)",
      ])
    try testpmd.waitForPrompt()
    return testpmd
  }

  /// Runs for a time.
  ///
  /// - Returns: Millions of packets per second.
  func measure(seconds: Double) throws -> Double {
    for program in programs { try program.type(shape == .pipe ? "start" : "start tx_first 8") }
    Thread.sleep(forTimeInterval: 0.1)
    let (first, start) = (try received(), DispatchTime.now().uptimeNanoseconds)
    Thread.sleep(forTimeInterval: seconds)
    let (last, end) = (try received(), DispatchTime.now().uptimeNanoseconds)
    for program in programs.reversed() { try program.type("stop") }
    // testpmd executes commands in order: once it answers, it has stopped.
    for program in programs { _ = try program.counters(ofPort: 0) }
    guard last > first else { throw PeerError("memif moved no packet") }
    let directions = shape == .pipe ? 1 : 2
    return Double(last - first) / Double(directions) / Double(end - start) * 1e3
  }

  private func received() throws -> UInt64 {
    try (0..<(shape == .pipe ? 1 : 2)).reduce(0) { sum, port in
      let text = try programs[0].counters(ofPort: port).received
      guard let count = UInt64(text) else { throw PeerError("'\(text)' is no number of packets") }
      return sum + count
    }
  }

  func end() {
    for program in programs.reversed() { program.end() }
    try? FileManager.default.removeItem(atPath: folder)
  }

  /// Answers lines of input until the input ends.
  static func serve(_ arguments: some Sequence<String>) throws {
    guard let shape = arguments.first(where: { _ in true }).flatMap(Shape.init) else {
      throw PeerError("usage: testpmd-peer memif pipe|forward")
    }
    guard let path = Testpmd.path else {
      return print("unavailable: dpdk-testpmd is not installed; 'make setup-bench' installs it")
    }
    let memif = try Memif(shape, path)
    defer { memif.end() }
    answer("ready \(memif.description)")
    while let line = readLine() {
      guard let seconds = Double(line), seconds > 0 else { throw PeerError("'\(line)' s?") }
      answer("\(try memif.measure(seconds: seconds))")
    }
  }

  private static func answer(_ line: String) {
    print(line)
    fflush(nil)
  }
}
