internal import CLinux
internal import Glibc

extension NetmapError.Code {
  /// A malformed name, request or size.
  public static let invalidArgument = Self(rawValue: EINVAL)
  /// No interface or port of that name.
  public static let noSuchDevice = Self(rawValue: ENXIO)
  /// A pipe that does not exist, in a request that does not create it; or a facility that is
  /// missing.
  public static let notFound = Self(rawValue: ENODEV)
  /// Already in use, or another program holds it for exclusive use.
  public static let busy = Self(rawValue: EBUSY)
  /// Rings, buffers or memory have run out.
  public static let outOfMemory = Self(rawValue: ENOMEM)
  /// A known request that this port or this build cannot serve.
  public static let unsupported = Self(rawValue: EOPNOTSUPP)
  /// The port no longer exists, or its header format was not accepted.
  public static let inputOutput = Self(rawValue: EIO)
  /// The caller lacks a right.
  public static let notPermitted = Self(rawValue: EPERM)
  /// Too many open files in this process or on this host.
  public static let tooManyFiles = Self(rawValue: EMFILE)
  /// No room at the moment: the same call can succeed after a sync or a wait.
  public static let tryAgain = Self(rawValue: EAGAIN)
  /// A packet that is longer than a ring.
  public static let messageTooLong = Self(rawValue: EMSGSIZE)
  /// A signal handler interrupted a blocking call.
  public static let interrupted = Self(rawValue: EINTR)
  /// The port was inherited by a fork child, or has been closed.
  public static let badDescriptor = Self(rawValue: EBADF)

  /// A request that is too large: it opens more rings than can be passed to a process, or its
  /// module configuration is too long.
  public static let tooLarge = Self(rawValue: E2BIG)
  /// An object of that name exists already.
  public static let alreadyExists = Self(rawValue: EEXIST)
  /// Nothing to list under that name.
  public static let noSuchEntry = Self(rawValue: ENOENT)
  /// A tunable that cannot be set, or not at this time.
  package static let readOnly = Self(rawValue: EACCES)

  /// Polling of a port is on already, or off already. The code is netmap's.
  public static let badAddress = Self(rawValue: EFAULT)

  /// Another version of netmap's shared memory or messages.
  public static let otherVersion = Self(rawValue: EPROTO)

  /// The symbol of the code, such as `EINVAL`; the number when the C library knows no symbol.
  public var name: String {
    guard let name = unsafe strerrorname_np(rawValue) else { return "errno \(rawValue)" }
    return unsafe String(cString: name)
  }
}
