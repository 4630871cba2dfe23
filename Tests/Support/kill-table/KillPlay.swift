import CTrace
import Glibc
import Netmap
import NetmapClient
import TableSupport

/// What the processes of the kill table do.
enum KillPlay {
  static func play(_ rows: [any KillRow]) -> Nursery.Play {
    { row, part, socket, board in
      do {
        switch part {
        case .victim:
          let operation = try victim(rows[row], socket)
          guard ctrace_me() == 0 else { throw TableError("ptrace: errno \(errno)") }
          raise(SIGSTOP)
          try operation()
          raise(SIGSTOP)
        case .helper:
          guard let row = rows[row] as? any KillRowWithHelper else { throw TableError("no helper") }
          try row.helper(HostEngine(socket: socket), board)
        }
      } catch {
        board.text = "\(error)"
        _exit(1)
      }
      while true { pause() }
    }
  }

  private static func victim(_ row: any KillRow, _ socket: String) throws -> VictimOperation {
    guard let row = row as? any ConnectionRow else {
      return try row.victim(HostEngine(socket: socket))
    }
    return try row.victim(DaemonConnection(address: try DaemonAddress(path: socket)))
  }
}

extension TableTestbed {
  func start(_ row: any KillRow) throws -> Victim {
    try Victim(
      awaiting: try (row as? ProgramRow).map { try $0.start(self) } ?? startVictim(), board)
  }
}
