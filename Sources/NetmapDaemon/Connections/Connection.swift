internal import NetmapClient
internal import NetmapCore

/// A connection to the daemon: what it has become, and so what may be said on it.
///
/// It begins fresh. What it says first makes it a mailbox or a token, for good.
final class Connection {
  enum State {
    /// Nothing has been said.
    case fresh
    /// One open of a port, or what may become one. Many processes may have copies of its other end.
    case token(Token)
    /// A process that is a client.
    case mailbox(Client)
  }

  enum Token {
    /// No rings are bound to it; they can be.
    case unbound
    /// A request for that is being decided.
    case binding
    case bound(BindingID)
  }

  /// Under which it is watched.
  let key: UInt64
  let socket: PeerSocket
  /// By what rules whoever comes through it is admitted: its listener's.
  let admission: Admission
  /// Whether it is a stranger's.
  let isStrangers: Bool
  var state = State.fresh {
    didSet { count() }
  }
  /// Whether nothing is read from it, as a request of its is being decided.
  var isHeld = false
  /// Whether something is waiting for room in its queue.
  var wantsRoom = false
  /// When it was accepted, monotonic nanoseconds.
  let since = monotonicNanoseconds()

  /// Who connected, and pays for it.
  var user: UInt32 { socket.user }

  private let books: [ConnectionUsage]
  /// What the books say of it.
  private var counted = (open: 0, silent: 0)
  private var isOpen = true

  /// - Parameters:
  ///   - key: Under which it is watched.
  ///   - socket: The daemon's end.
  ///   - admission: Its listener's rules.
  ///   - books: Where it counts.
  ///   - isStrangers: Whether it is a stranger's.
  init(
    key: UInt64, _ socket: PeerSocket, _ admission: Admission, _ books: [ConnectionUsage],
    isStrangers: Bool
  ) {
    self.key = key
    self.socket = socket
    self.admission = admission
    self.books = books
    self.isStrangers = isStrangers
    count()
  }

  /// It is in use no more.
  func close() {
    isOpen = false
    count()
  }

  private func count() {
    let now = (open: isOpen ? 1 : 0, silent: isOpen && isSilent ? 1 : 0)
    for book in books {
      book.open += now.open - counted.open
      book.silent += now.silent - counted.silent
    }
    counted = now
  }

  var isMailbox: Bool { if case .mailbox = state { true } else { false } }

  /// Whether it stands for no open port and no process.
  var isSilent: Bool {
    switch state {
    case .fresh, .token(.unbound): true
    case .token, .mailbox: false
    }
  }
}

extension Connection.State {
  /// What may be said on a connection in this state. `docs/threat-model.md` repeats this table.
  var allowed: Set<Message.Kind> {
    switch self {
    // A hello makes it a mailbox, all else a token.
    case .fresh: [.hello, .register, .attach]
    // A hello comes with a socket for the answer, and makes another connection a mailbox.
    case .token: [.hello, .register, .attach]
    case .mailbox: [.forget, .ring, .portInfo, .list, .check, .control]
    }
  }
}
