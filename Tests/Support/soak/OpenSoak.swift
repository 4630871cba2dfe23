import CTrace
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetworkTestbed
import ProcessFiles

/// Opens and closes of everything, by many processes, of which half are killed. After each round netmapd must have what it
/// had before: descriptors, mappings, memory, links on interfaces, files.
final class OpenSoak {
  private let options: SoakOptions
  private let bed: SoakBed
  private var random: SoakRandom
  private let hasInterfaces: Bool
  private var rounds = 0
  private var kills = 0
  private var opens = [UInt64](repeating: 0, count: OpenWorker.Kind.allCases.count + 1)
  private var clients: UInt64 = 0
  /// A port that the soak keeps by mistake.
  private var leaked: NetmapPort?

  private static let workers = 6

  init(_ options: SoakOptions) throws {
    self.options = options
    random = SoakRandom(seed: options.seed)
    var isReady = false
    if ctrace_new_network() == 0, (try? VethPair("soak0", "soak1")) != nil { isReady = true }
    if !isReady { print("soak open: no interfaces: a network namespace needs root") }
    hasInterfaces = isReady
    bed = try SoakBed(options)
  }

  func run() throws {
    // The first use of an interface creates a region that stays, that of a module starts a process.
    try openEachKind()
    try round()
    let before = try rest(atMost: nil)
    var last = before
    while !bed.isOver {
      try round()
      if options.fault == .leak, leaked == nil {
        leaked = try NetmapPort("netmap:leaked{1", engine: bed.engine)
      }
      last = try rest(atMost: before)
      bed.progress(
        "\(rounds) rounds, \(Ledger.grouped(opens.dropLast().reduce(0, +))) opens; \(last)")
    }
    show(before, last)
  }

  // MARK: - A round

  /// One process opens and closes a port of each kind.
  private func openEachKind() throws {
    try bed.start(0, "-", workerSettings(once: true))
    try bed.waitForEnd(0, seconds: 60)
    note(0)
  }

  private func workerSettings(once: Bool = false) -> WorkerSettings {
    var settings = WorkerSettings()
    settings.seed = random.next()
    settings.opens = true
    settings.opensEachOnce = once
    settings.hasInterfaces = hasInterfaces
    settings.module = bed.program("libfault-module.so")
    return settings
  }

  private func round() throws {
    rounds += 1
    bed.board.phase = .run
    for station in 0..<Self.workers { try bed.start(station, "-", workerSettings()) }
    for station in [Self.workers, Self.workers + 1] { try startClient(station) }
    let end = now() + .random(in: 500_000_000..<3_000_000_000, using: &random)
    while now() < end, !(bed.isOver && rounds > 2) {
      try bed.expectAllAlive()
      if random.chance(20) {
        let station = Int.random(in: 0..<Self.workers, using: &random)
        bed.kill(station)
        kills += 1
        note(station)
        try bed.start(station, "-", workerSettings())
      }
      if random.chance(20) {
        let station = Self.workers + Int.random(in: 0...1, using: &random)
        bed.kill(station)
        try startClient(station)
      }
      usleep(50_000)
    }
    // Half of the processes are killed, the others end by themselves.
    for station in 0..<Self.workers where random.chance(50) {
      bed.kill(station)
      kills += 1
    }
    for station in [Self.workers, Self.workers + 1] { bed.kill(station) }
    bed.board.phase = .drain
    for station in 0..<Self.workers {
      try bed.waitForEnd(station)
      note(station)
    }
  }

  /// Starts a C program that opens a port, and sleeps in poll or epoll.
  private func startClient(_ station: Int) throws {
    clients += 1
    let words = [
      bed.program("soak-client"), station % 2 == 0 ? "openc{1" : "vale0:c", bed.board.path,
      "\(station)", "0", "echo", station % 2 == 0 ? "poll" : "epoll",
    ]
    let environment = [
      "NETMAP_SOCKET": bed.socket, "LD_PRELOAD": bed.program("libnetmap-c.so"),
      "NETMAP_HALF": bed.program("libnetmap-half.so"),
    ]
    try bed.start(station) { try bed.spawn(words, environment: environment) }
  }

  private func note(_ station: Int) {
    for kind in opens.indices { opens[kind] += bed.board.takeOpens(station, kind) }
  }

  // MARK: - What is left

  /// What netmapd has.
  struct Holdings: CustomStringConvertible {
    var descriptors: DescriptorKinds
    /// How often each file is mapped; shared memory is a file.
    var mapped: [String: Int] = [:]
    var kilobytes = 0
    var processes = 0
    var clients = 0
    var files: [String] = []
    var links = ""

    var mappings: Int { mapped.values.reduce(0, +) }

    var description: String {
      "\(descriptors.count) descriptors, \(mappings) mappings, \(kilobytes) kB, \(processes) processes,"
        + " \(files.count) files"
    }
  }

  /// Files that appear with the first module host: its log.
  private static let lateFiles: Set<String> = ["netmapd.sock.module.log"]

  /// Removes the persistent ports of processes that were killed before they removed them.
  private func removePersistentPorts() {
    for station in 0..<Self.workers {
      // Most do not exist. One that cannot be removed keeps its memory, which is counted.
      for name in OpenWorker.persistentPorts(of: station) { try? bed.engine.switches.remove(name) }
    }
  }

  /// Waits until netmapd has no more than before.
  private func rest(atMost before: Holdings?) throws -> Holdings {
    let end = now() + 30_000_000_000
    while true {
      // A request of a process that has ended may still create one.
      removePersistentPorts()
      let check = try bed.check()
      // netmapd keeps a process that has hung up, as the check's has, for 50 ms before it looks whether it may end it.
      usleep(100_000)
      let found = holdings(check)
      var more: [String] = []
      if check.bindings > 0 { more.append("\(check.bindings) ports are open") }
      if check.kept > 0 { more.append("\(check.kept) ports are kept") }
      // The region that interfaces share stays.
      if check.report.regions > 1 { more.append("\(check.report.regions) regions are there") }
      if let before {
        if found.descriptors.count > before.descriptors.count {
          more.append("more descriptors: \(found.descriptors.added(since: before.descriptors))")
        }
        for (what, number, limit) in [
          ("processes", found.processes, before.processes),
          ("clients", found.clients, before.clients),
          // The allocator keeps some memory.
          ("kB of memory", found.kilobytes, before.kilobytes + 16_384),
        ] where number > limit { more.append("\(number) \(what), \(limit) before") }
        for (file, count) in found.mapped where count > before.mapped[file, default: 0] {
          more.append("\(count) mappings of \(file), \(before.mapped[file, default: 0]) before")
        }
        if found.files != before.files { more.append("files \(found.files)") }
        if found.links != before.links { more.append("links \(found.links)") }
      }
      if more.isEmpty { return found }
      if now() > end { try bed.fail("round \(rounds): 30 s later \(more.joined(separator: ", "))") }
    }
  }

  private func holdings(_ check: DaemonCheck) -> Holdings {
    let process = bed.servingProcess
    var result = Holdings(descriptors: DescriptorKinds(of: process))
    result.mapped = Self.mappedFiles(of: process)
    result.kilobytes = Self.memory(of: process)
    result.processes = bed.daemonProcesses
    result.clients = check.clients
    result.files = ProcessFiles.entries(bed.folder).filter { !Self.lateFiles.contains($0) }.sorted()
    if hasInterfaces {
      result.links = ["soak0", "soak1"].map(Self.programs).joined(separator: " ")
    }
    return result
  }

  /// The mappings of files, by path. Memory without a file is the allocator's, which keeps and splits it.
  private static func mappedFiles(of process: pid_t) -> [String: Int] {
    var result: [String: Int] = [:]
    for line in ProcessFiles.text("/proc/\(process)/maps").split(separator: "\n") {
      guard let start = line.firstIndex(of: "/") else { continue }
      result[String(line[start...]), default: 0] += 1
    }
    return result
  }

  /// Resident memory that is the process's own.
  private static func memory(of process: pid_t) -> Int {
    for line in ProcessFiles.text("/proc/\(process)/status").split(separator: "\n")
    where line.hasPrefix("RssAnon:") {
      return line.split(separator: " ").compactMap { Int($0) }.first ?? 0
    }
    return 0
  }

  /// Whether an interface has an XDP program, and how many there are: as ip(8) shows it.
  private static func programs(on interface: String) -> String {
    var ends: [CInt] = [0, 0]
    guard unsafe pipe(&ends) == 0 else { return "" }
    let child = ctrace_plain_fork()
    if child == 0 {
      dup2(ends[1], 1)
      let command = ["ip", "-o", "link", "show", interface]
      var words: [UnsafeMutablePointer<CChar>?] = unsafe command.map { unsafe strdup($0) } + [nil]
      _ = unsafe execvp("ip", &words)
      _exit(127)
    }
    close(ends[1])
    var all: [UInt8] = []
    var bytes = [UInt8](repeating: 0, count: 4096)
    while case let count = unsafe read(ends[0], &bytes, bytes.count), count > 0 {
      all += bytes[..<count]
    }
    close(ends[0])
    var status: CInt = 0
    _ = unsafe waitpid(child, &status, 0)
    let text = String(decoding: all, as: UTF8.self)
    return "\(interface): \(text.contains("xdp") ? "an XDP program" : "none")"
  }

  // MARK: - Output

  private func show(_ before: Holdings, _ after: Holdings) {
    let total = opens.dropLast().reduce(0, +)
    let kinds =
      OpenWorker.Kind.allCases.map { ($0.name, opens[$0.rawValue]) }
      + [("C programs", clients), ("refused", opens[opens.count - 1])]
    if options.isJSON {
      let counts = kinds.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",")
      print(
        "{\"rounds\":\(rounds),\"kills\":\(kills),\(counts),\"descriptors\":[\(before.descriptors.count),"
          + "\(after.descriptors.count)],\"mappings\":[\(before.mappings),\(after.mappings)],"
          + "\"kilobytes\":[\(before.kilobytes),\(after.kilobytes)]}")
      return
    }
    print("| opened and closed | times |\n|---|---:|")
    for (name, count) in kinds { print("| \(name) | \(Ledger.grouped(count)) |") }
    print("")
    print("| of netmapd | after the first round | at the end |\n|---|---:|---:|")
    for (name, first, last) in [
      ("descriptors", before.descriptors.count, after.descriptors.count),
      ("mappings", before.mappings, after.mappings),
      ("memory of its own, kB", before.kilobytes, after.kilobytes),
      ("processes", before.processes, after.processes),
      ("files in its folder", before.files.count, after.files.count),
    ] { print("| \(name) | \(first) | \(last) |") }
    print("")
    print(
      "soak open: \(Int(bed.elapsed)) s, seed \(options.seed), \(rounds) rounds,"
        + " \(Ledger.grouped(total)) opens, \(kills) kills; everything has come back")
  }
}
