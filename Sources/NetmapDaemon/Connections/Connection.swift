internal import NetmapClient
internal import NetmapCore

/// A connection to the daemon.
///
/// Its state determines which messages are allowed on it.
///
/// A connection begins fresh. The first message makes it a mailbox or a token, for good.
final class Connection {
  enum State {
    /// No message has come yet, and the connection is not a token by its name (``TokenName``).
    case fresh
    /// One open of a port, or a connection that may become one.
    ///
    /// Many processes may have copies of the other end.
    case token(Token)
    /// The mailbox of a client.
    case mailbox(Client)
  }

  enum Token {
    /// No rings are bound to the token yet.
    case unbound
    /// A request to bind rings is being decided.
    case binding
    case bound(BindingID)
  }

  /// The key under which the server watches the connection.
  let key: UInt64
  let socket: PeerSocket
  /// The rules by which the server admits clients on this connection: its listener's.
  let admission: Admission
  /// Whether an untrusted user made the connection.
  let isUntrusted: Bool
  var state = State.fresh {
    didSet { count() }
  }
  /// Whether the server has stopped reading from the connection while it decides a request from it.
  var isHeld = false
  /// Whether messages are waiting for room in its queue.
  var wantsRoom = false
  /// When it was accepted, monotonic nanoseconds.
  let since = monotonicNanoseconds()

  /// The user who connected and pays for the connection.
  var user: UInt32 { socket.user }

  private let books: [ConnectionUsage]
  /// What the usage records contain for this connection.
  private var counted = (open: 0, silent: 0)
  private var isOpen = true

  /// - Parameters:
  ///   - key: The key under which the server watches the connection.
  ///   - socket: The daemon's end.
  ///   - admission: Its listener's rules.
  ///   - books: The usage records in which the connection counts.
  ///   - isUntrusted: Whether an untrusted user made the connection.
  init(
    key: UInt64, _ socket: PeerSocket, _ admission: Admission, _ books: [ConnectionUsage],
    isUntrusted: Bool
  ) {
    self.key = key
    self.socket = socket
    self.admission = admission
    self.books = books
    self.isUntrusted = isUntrusted
    count()
  }

  /// Records that the connection is no longer in use.
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

  /// Whether the connection belongs neither to an open port nor to a client.
  var isSilent: Bool {
    switch state {
    case .fresh, .token(.unbound): true
    case .token, .mailbox: false
    }
  }
}

extension Connection.State {
  /// The messages that are allowed in this state.
  ///
  /// `docs/threat-model.md` repeats this table.
  var allowed: Set<Message.Kind> {
    switch self {
    // A hello without a reply socket makes the connection a mailbox; any other message makes it a
    // token.
    case .fresh: [.hello, .register, .mapPort]
    // A hello comes with a reply socket, and gets a new connection as the mailbox.
    case .token: [.hello, .register, .mapPort, .unbind]
    case .mailbox:
      [
        .forget, .ring, .again, .portInfo, .poolsInfo, .list, .check, .dump, .control, .token,
        .tunables,
      ]
    }
  }
}
