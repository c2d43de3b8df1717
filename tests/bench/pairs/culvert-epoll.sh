# culvert-epoll: the pair culvert, on epoll.
CULVERT_BACKEND=epoll
. "$(dirname "${BASH_SOURCE[0]}")/culvert.sh"
