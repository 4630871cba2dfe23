import CLinux
import Glibc
import NetmapClient
import NetmapCore
import NetmapDaemon
import StormAttack

/// netmapd's opener without a broker: each connection to a socket is the next broker.
///
/// Serves it as ``OpenerProcess`` serves a broker, without the pauses after a broker that it had to end.
struct LoneOpener {
  private let listener: CInt
  private let opener: Opener
  private let board: StormBoard

  /// The place on the board for the opener's own numbers.
  static let slot = StormBoard.slotCount - 1

  init(_ path: String, _ board: StormBoard) throws {
    self.board = board
    listener = try DaemonAddress(path: path).listen()
    chmod(path, 0o666)
    // A broker's socket comes from a pair, which passes no pidfds.
    _ = clinux_pass_no_pidfd(listener)
    // No daemon listens there: a module host ends when it cannot connect.
    opener = try Opener(try DaemonAddress(path: "\(path).none")) { _ in false }
    signal(SIGPIPE, SIG_IGN)
  }

  func run() throws -> Never {
    MessageStorm.say("ready")
    while true {
      let link = accept(listener, nil, nil)
      guard link >= 0 else { continue }
      _ = fcntl(link, F_SETFD, FD_CLOEXEC)
      serve(link)
      close(link)
      opener.forgetEverything()
    }
  }

  private func serve(_ link: CInt) {
    while true {
      var entries =
        [pollfd(fd: link, events: Int16(POLLIN), revents: 0)]
        + opener.hosts.events.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      _ = poll(&entries, nfds_t(entries.count), 1000)
      opener.hosts.watch()
      guard entries[0].revents != 0 else { continue }
      let start = monotonicNanoseconds()
      let goesOn = opener.serve(link)
      board.raise(Self.slot, .worstAnswer, to: monotonicNanoseconds() - start)
      if !goesOn { return }
    }
  }
}
