# Completion of culvertctl for bash.
_culvertctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word
	local commands="status connections config-dump certificates raw version help"
	local options="--socket --output --help --version" command=""

	case $prev in
	-s | --socket)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	-o | --output)
		mapfile -t COMPREPLY < <(compgen -W "json table" -- "$cur")
		return
		;;
	-X | --method)
		mapfile -t COMPREPLY < <(compgen -W "GET POST" -- "$cur")
		return
		;;
	esac
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case " $commands " in
		*" $word "*)
			command=$word
			break
			;;
		esac
	done
	case $command in
	connections) options+=" --recent" ;;
	raw) options+=" --method" ;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
	elif [[ -z $command || $command == help ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
	elif [[ $command == raw ]]; then
		mapfile -t COMPREPLY < <(compgen -W "/healthz /healthz/ready /connections /config_dump /logging" -- "$cur")
	fi
}
complete -F _culvertctl culvertctl
