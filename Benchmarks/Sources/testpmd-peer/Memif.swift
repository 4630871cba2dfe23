internal import Foundation

/// testpmd with its shared-memory interface, memif: the peer of pipes and switches.
///
/// In `testpmd-peer memif pipe`, one testpmd sends to another one. In `testpmd-peer memif forward`, one testpmd
/// forwards packets between two of its ports. The program prints `ready` and a description. Each line of input
/// is a number of seconds: the program measures for that time and answers with millions of packets per second.
/// Between measurements it is idle. It exits at the end of its input.
///
/// In the shape `pipe` the sender writes the headers of each packet (42 bytes). `rxonly` frees received packets
/// without reading them, which is less work than netmap's receiver does. With the client as sender, memif's
/// receiving end has copied the packets before. (`icmpecho` would read the headers, but does not work with bursts
/// of 256 over memif.)
struct Memif {
  private let job: MemifJob
  private var programs: [Testpmd] = []
  private let folder: String

  init(_ job: MemifJob, _ path: String) throws {
    self.job = job
    folder = NSTemporaryDirectory() + "testpmd-peer-\(getpid())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    do {
      switch job.shape {
      case .pipe:
        // The server first: a client without a server gives up.
        for role in [MemifJob.Role.server, .client] {
          let mode = role == job.sender ? "txonly" : "rxonly"
          let cores = role == job.sender ? "0@1,1@0" : "0@0,1@1"
          programs.append(
            try start(path, role.rawValue, cores: cores, devices: [role], mode: mode))
        }
        if job.sender == .server { programs.reverse() }
      case .forward:
        programs.append(
          try start(path, "both", cores: "0@0,1@0,2@1", devices: [.server, .client], mode: "io"))
      }
    } catch {
      end()
      throw error
    }
  }

  private func start(
    _ path: String, _ name: String, cores: String, devices roles: [MemifJob.Role], mode: String
  ) throws -> Testpmd {
    let devices = roles.enumerated().flatMap { number, role in
      [
        "--vdev",
        "net_memif\(number),role=\(role),id=0,socket=\(folder)/memif.sock,socket-abstract=no,"
          + "rsize=10,bsize=2048" + (role == .client ? ",zero-copy=yes" : ""),
      ]
    }
    let testpmd = try Testpmd(
      path,
      HugePages.options(megabytes: 512) + [
        "--no-pci", "--no-telemetry", "--no-shconf",
        "--single-file-segments", "--file-prefix=netmap-\(getpid())-\(name)", "--lcores", cores,
        "--main-lcore", "0",
      ] + devices + [
        "--", "-i", "--nb-cores=\(roles.count)", "--total-num-mbufs=16384",
        "--forward-mode=\(mode)", "--txpkts=\(job.frameBytes)", "--burst=\(job.burst)",
      ])
    try testpmd.waitForPrompt()
    return testpmd
  }

  /// Runs for a time.
  ///
  /// - Returns: Millions of packets per second.
  func measure(seconds: Double) throws -> Double {
    for program in programs { try program.type(job.shape == .pipe ? "start" : "start tx_first 8") }
    Thread.sleep(forTimeInterval: 0.1)
    let (first, start) = (try received(), DispatchTime.now().uptimeNanoseconds)
    Thread.sleep(forTimeInterval: seconds)
    let (last, end) = (try received(), DispatchTime.now().uptimeNanoseconds)
    for program in programs.reversed() { try program.type("stop") }
    // testpmd executes commands in order: once it answers, it has stopped.
    for program in programs { _ = try program.counters(ofPort: 0) }
    guard last > first else { throw PeerError("memif moved no packet") }
    let directions = job.shape == .pipe ? 1 : 2
    return Double(last - first) / Double(directions) / Double(end - start) * 1e3
  }

  private func received() throws -> UInt64 {
    try (0..<(job.shape == .pipe ? 1 : 2)).reduce(0) { sum, port in
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
    let job = try MemifJob(arguments)
    guard let path = Testpmd.path else {
      return print("unavailable: dpdk-testpmd is not installed; 'make setup-bench' installs it")
    }
    let memif = try Memif(job, path)
    defer { memif.end() }
    answer("ready \(job.description)")
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
