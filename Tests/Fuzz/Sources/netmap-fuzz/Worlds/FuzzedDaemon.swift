import CLinux
import Glibc
import Logging

@testable import NetmapClient
@testable import NetmapCore
@testable import NetmapDaemon

/// netmapd's server, on a thread of this process, and the process that sends messages to it.
///
/// The messages come from another process, because the server trusts its own.
final class FuzzedDaemon: Sendable {
  static let shared = FuzzedDaemon()

  private let link: MessageSocket
  /// Holds the input that is being tried, for faults of threads in which the fuzzer does not see a fault.
  private let note: CInt

  /// The sockets of the daemon: one for trusted clients, and one for untrusted ones.
  static func addresses(in folder: String) throws(NetmapError) -> [DaemonAddress] {
    [try DaemonAddress(path: "\(folder)/trusted"), try DaemonAddress(path: "\(folder)/isolated")]
  }

  private init() {
    do {
      let folder = "/tmp/netmap-fuzz-\(getpid())"
      require(unsafe mkdir(folder, 0o700) == 0 || errno == EEXIST, "the folder can be made")
      signal(SIGPIPE, SIG_IGN)
      note = unsafe open("\(folder)/input", O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
      let addresses = try Self.addresses(in: folder)
      var listeners: [CInt] = []
      for address in addresses { listeners.append(try address.listen()) }
      let files = listeners
      try EngineThread.start("fuzzed daemon") { Self.serve(files, addresses) }
      let (mine, theirs) = try MessageSocket.pair()
      link = mine
      try Self.spawnPeer(theirs.descriptor, folder)
    } catch {
      fatalError("the daemon cannot be started: \(error)")
    }
  }

  private static func serve(_ files: [CInt], _ addresses: [DaemonAddress]) {
    letFaultsThrough()
    do throws(NetmapError) {
      var log = Logger(label: "fuzzed") { _ in SwiftLogNoOpLogHandler() }
      log.logLevel = .critical
      var settings = Server.Settings()
      settings.allowsModules = false
      let server = try Server(
        listeners: [
          Listener(files[0], addresses[0], .trusts), Listener(files[1], addresses[1], .isolates),
        ], engine: try Engine(), settings: settings, log: log)
      try server.run(signals: eventfd(0, 0))
    } catch {
      fatalError("the daemon has ended: \(error)")
    }
  }

  /// Has the fuzzer's handlers see faults of the calling thread, in which the engine has blocked all signals.
  private static func letFaultsThrough() {
    var faults = sigset_t()
    unsafe sigemptyset(&faults)
    for signal in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT] {
      unsafe sigaddset(&faults, signal)
    }
    unsafe pthread_sigmask(SIG_UNBLOCK, &faults, nil)
  }

  /// Starts this program again, as the peer.
  private static func spawnPeer(_ link: CInt, _ folder: String) throws {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    unsafe posix_spawn_file_actions_adddup2(&actions, link, 3)
    let texts = ["netmap-fuzz", "--peer", folder]
    var arguments = unsafe texts.map { unsafe strdup($0) } + [nil]
    var process: pid_t = 0
    let code = unsafe posix_spawn(
      &process, "/proc/self/exe", &actions, nil, &arguments, environ)
    require(code == 0, "the peer can be started")
    unsafe arguments.forEach { unsafe free($0) }
    unsafe posix_spawn_file_actions_destroy(&actions)
  }

  /// Has the peer act as an input says, and waits until it has taken back everything.
  func attack(_ input: [UInt8]) {
    require(
      unsafe ftruncate(note, 0) == 0 && pwrite(note, input, input.count, 0) == input.count,
      "the input can be noted")
    do {
      try link.send(input)
      guard let answer = try link.receive(within: 60), answer.bytes == [1] else {
        fatalError("the peer has found a fault, or has ended; see its message above")
      }
    } catch {
      fatalError("the peer has ended: \(error)")
    }
  }
}
