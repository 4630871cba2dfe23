import Glibc
import StormAttack
import Synchronization

/// Two processes that exchange numbered packets over ports of one kind.
final class StormBystander {
  enum Kind: String, CaseIterable {
    case pipe, isolated, vale, module, interface

    var ports: (receiver: String, sender: String) {
      switch self {
      case .pipe: ("netmap:bystander{1", "netmap:bystander}1")
      case .isolated: ("netmap:apart{1/i", "netmap:apart}1/i")
      case .vale: ("vale0:bystand", "vale0:bysend")
      case .module: ("vale3:bystand", "vale3:bysend")
      case .interface: ("netmap:v0", "netmap:v1")
      }
    }
  }

  let kind: Kind
  private let receiver: StormProcess
  private let sender: StormProcess
  private let words: UnsafeMutablePointer<Atomic<UInt64>>
  private var lastReceived: UInt64 = 0
  private var lastProgress = ContinuousClock.now

  init(_ kind: Kind, folder: String, socket: String, serving: Int32) throws {
    self.kind = kind
    let path = "\(folder)/\(kind.rawValue).board"
    let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    defer { close(file) }
    guard file >= 0, ftruncate(file, 4096) == 0,
      let memory = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
      memory != MAP_FAILED
    else { throw StormError("\(path): errno \(errno)") }
    words = memory.assumingMemoryBound(to: Atomic<UInt64>.self)
    words[6].store(UInt64(serving), ordering: .relaxed)
    func start(_ words: String...) throws -> StormProcess {
      let program = try StormProcess(
        ["env", "NETMAP_SOCKET=\(socket)", StormProcess.built("hostile-peer")] + words)
      let line = program.readLine()
      guard line == "ready" else { throw StormError("bystander, \(kind.rawValue): \(line)") }
      return program
    }
    receiver = try start("bystand-receive", kind.ports.receiver, path)
    sender = try start("bystand-send", kind.ports.sender, path)
  }

  deinit { munmap(words, 4096) }

  /// Sets the process of the module that carries the packets.
  func setHost(_ process: Int32) { words[7].store(UInt64(process), ordering: .relaxed) }

  var received: UInt64 { words[2].load(ordering: .acquiring) }

  /// The longest time between two packets since the last call, and the part of it in which no process that carries
  /// them waited for a CPU, nanoseconds.
  func takeGaps() -> (gap: UInt64, hold: UInt64) {
    (words[3].exchange(0, ordering: .relaxed), words[4].exchange(0, ordering: .relaxed))
  }

  /// Fails when no packet has arrived for long, or when a process has ended.
  func look() throws {
    for program in [receiver, sender] {
      if let status = program.ended {
        throw StormError("bystander, \(kind.rawValue): ended with \(status): \(program.rest())")
      }
    }
    if received != lastReceived { (lastReceived, lastProgress) = (received, .now) }
    guard ContinuousClock.now - lastProgress < .seconds(20) else {
      throw StormError("bystander, \(kind.rawValue): no packet in 20 s")
    }
  }

  func end() {
    for program in [sender, receiver] { program.kill(SIGKILL) }
  }

  /// Stops the sender, and expects all packets.
  func settle() throws {
    words[0].store(1, ordering: .releasing)
    let said = sender.readLine()
    let sent = words[1].load(ordering: .acquiring)
    let end = ContinuousClock.now + .seconds(20)
    while received < sent, ContinuousClock.now < end { usleep(1000) }
    receiver.send(SIGKILL)
    let complaint = receiver.rest()
    guard said == "sent \(sent)", received == sent, sent > 0, complaint.isEmpty else {
      throw StormError(
        "bystander, \(kind.rawValue): \(received) of \(sent) packets arrived; \(said); \(complaint)"
      )
    }
  }
}
